"""A comparison's folder: `results.json`, and its tables in Markdown and LaTeX and `report.html`."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path

from omegaconf import OmegaConf

from common.files import write_json, write_whole
from embedding_space.media import NAMES
from embedding_space.store import EmbeddingStore
from evaluation.reading import read_object
from evaluation.reports.comparison_result import ComparisonResult
from evaluation.reports.comparison_tables import (
    gathered_warnings,
    interval_table,
    pairwise_ciders,
    results_table,
    spread_table,
)
from evaluation.reports.example import Example
from evaluation.reports.forest import cider_forests
from evaluation.reports.gallery import gallery_examples
from evaluation.reports.html import write_report
from evaluation.reports.pair_matrix import pair_list, pair_matrices
from evaluation.reports.pair_table import pair_table
from evaluation.reports.pairwise import PairTest
from evaluation.reports.translation_tables import translation_table
from evaluation.reports.tries import tries_table
from evaluation.table import Table

RESULTS = "results.json"
PATCHES = (
    " Patches in orange look most like the picture's main concepts, whose first three are named: a PCM-Net reads these "
    "concepts' words there, too."
)
FACTS = ("command", "commit", "date", "machine", "versions")


def write_comparison(folder: str | Path, result: ComparisonResult, pictures: int, picture_side: int) -> str:
    """Write `results.json`, `table.md`, `table.tex` and `report.html`; returns the tables for a terminal."""
    folder = Path(folder)
    write_json(folder / RESULTS, result.to_json())
    tables = comparison_tables(result).values()
    parts = [*(table.markdown() for _, table in tables), pair_list(result.pairwise, result.medium), *result.notes]
    write_whole(folder / "table.md", "\n\n".join(filter(None, parts)) + "\n")
    latex = [f"% {caption}\n{table.latex()}" for caption, table in tables]
    write_whole(folder / "table.tex", "% Needs \\usepackage{booktabs}\n" + "\n\n".join(latex) + "\n")
    write_comparison_report(folder, pictures=pictures, picture_side=picture_side)
    return "\n\n".join([table.text() for _, table in tables])


def write_comparison_report(
    comparison: str | Path,
    path: str | Path | None = None,
    pictures: int = 60,
    picture_side: int = 320,
    decoding: str | None = None,
) -> Path:
    """Write the report of a finished comparison.

    Args:
        comparison: a folder with `results.json`, or such a file.
        path: by default `report.html` in the folder, or the file's name with the ending .html.
        pictures: the most pictures.
        picture_side: their most pixels along a side.
        decoding: of the captions beside the pictures, by default the first.

    Returns:
        The report's path.

    Raises:
        FileNotFoundError: there are no results.
        ValueError: the file is not of a comparison.
    """
    file = results_file(comparison)
    result = read_comparison(comparison)
    examples, note = comparison_examples(result, pictures, decoding)
    path = Path(path or (file.with_name("report.html") if file.name == RESULTS else file.with_suffix(".html")))
    tests = result.pairwise or _pairwise_of_evaluations(result)
    matrices = pair_matrices(tests, result.medium)
    plots = [(plot.caption, file.with_name(plot.file)) for plot in result.plots]
    write_report(
        path,
        result.heading,
        result.summary,
        _facts(result),
        list(comparison_tables(result).values()),
        [(caption, plot.read_bytes()) for caption, plot in plots if plot.is_file()],
        examples,
        [*result.notes, note] if note else result.notes,
        cider_forests(result),
        gathered_warnings(result.all_runs),
        OmegaConf.to_yaml(OmegaConf.create(result.config)) if result.config else "",
        picture_side,
        result.baseline,
        matrices,
        pair_table(tests, matrices, result.medium),
    )
    return path


def _pairwise_of_evaluations(result: ComparisonResult) -> list[PairTest]:
    """The tests between every two methods of an earlier version's comparison, as far as its evaluations are there."""
    if any(run.evaluation is None for run in result.runs):
        return []
    try:
        return pairwise_ciders(result.runs)
    except FileNotFoundError:
        return []


def _facts(result: ComparisonResult) -> dict[str, str]:
    """The report's facts: of the command, the devices, the seeds and the time."""
    facts = {name: result.facts[name] for name in FACTS if name in result.facts}
    devices = {
        "trained on": {run.training_device for run in result.runs},
        "captioned on": {run.result.device for run in result.runs},
    }
    facts |= {what: "; ".join(sorted(names)) for what, some in devices.items() if (names := set(filter(None, some)))}
    facts["seeds"] = ", ".join(map(str, result.seeds))
    return facts if result.minutes is None else {**facts, "minutes": f"{result.minutes:g}"}


def results_file(comparison: str | Path) -> Path:
    """The file of results: `comparison` itself, or `results.json` in that folder."""
    return Path(comparison) / RESULTS if Path(comparison).is_dir() else Path(comparison)


def read_comparison(comparison: str | Path, option: str = "comparison") -> ComparisonResult:
    """A finished comparison, of this version or an earlier one. option: that names it, for messages.

    Raises:
        FileNotFoundError: there are no results.
        ValueError: the file is not of a comparison.
    """
    path = results_file(comparison)
    if not path.is_file():
        raise FileNotFoundError(
            f"No {RESULTS} in {option}={comparison}: there is no such comparison; run python "
            f"scripts/compare_methods.py output_dir={comparison}"
        )
    results = read_object(path, "comparison")
    if not results.get("runs"):
        raise ValueError(f"{path} (option {option}) has no runs: it holds {', '.join(results)}, but no comparison")
    return ComparisonResult.from_json(results)


def comparison_examples(result: ComparisonResult, pictures: int, decoding: str | None) -> tuple[list[Example], str]:
    """Pictures with their captions, and a note that describes them, or says why there are no pictures.

    Raises:
        ValueError: no run has this decoding.
    """
    runs, names = result.runs, NAMES[result.medium]
    if not pictures:
        return [], ""
    if result.store_path is None or result.split is None or any(run.evaluation is None for run in runs):
        return [], f"No {names}: the results do not say where the {names} and captions are."
    try:
        store = EmbeddingStore(result.store_path)
        examples = gallery_examples(runs, store, result.split, pictures, decoding)
    except FileNotFoundError as error:
        return [], f"No {names}: {error}"
    return examples, (
        f"Captions beside the {names}: seed {runs[0].seed}, {decoding or runs[0].decoding_name}; the numbers "
        f"are each caption's CIDEr, times 100. Half of the {names} are evenly spaced in the split. In the others the "
        f"CIDEr of two methods differs most, for every two methods in turn, so that counts among the {names} do not "
        "measure a method." + (PATCHES if any(example.patches for example in examples) else "")
    )


def comparison_tables(result: ComparisonResult) -> dict[str, tuple[str, Table]]:
    """{name: (caption, table)}. All comparisons of methods have the same names, and all of translations."""
    if rows := result.translations:
        return {name: (name.replace("_", " ").capitalize(), translation_table(rows, name)) for name in rows[0].metrics}
    images = f"{result.runs[0].result.images:,} {result.medium}s of the split {result.split}"
    tables = {"results": (f"Results on {images}", results_table(result.runs, result.intervals))}
    if result.intervals:
        tables["intervals"] = "CIDEr with 95 % intervals", interval_table(result.intervals, result.medium)
    if result.cross_domain:
        spread = spread_table([*result.runs, *result.cross_domain], attrgetter("evaluated_on"))
        tables["cross_domain"] = "CIDEr on the data set of the training and on others", spread
    if result.few_captions:
        spread = spread_table(result.few_captions, attrgetter("share"))
        tables["few_captions"] = "CIDEr after training on some of the captions", spread
    if result.few_pairs:
        spread = spread_table(result.few_pairs, attrgetter("pairs_share"))
        tables["few_pairs"] = "CIDEr after going on with some image-text pairs", spread
    if result.tries:
        methods = list(dict.fromkeys(run.method for run in result.runs))
        split = result.config.get("tune_split", "another split")
        tables["tries"] = f"Tries on {split}: what chose the settings", tries_table(result.tries, methods)
    return tables
