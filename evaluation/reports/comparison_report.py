"""A comparison's folder: `results.json`, and its tables in Markdown and LaTeX and `report.html`.

`results.json` has the facts of its command, `title`, `summary`, `notes`, `runs` (see `method_result.py`), `intervals`
(see `comparison_tables.py`), the path of the embeddings (`store_path`), the `split`, and `plots`, SVG files of the same
folder with their captions.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path

from omegaconf import OmegaConf

from common.files import write_json, write_whole
from embedding_space.store import EmbeddingStore
from evaluation.reading import read_object
from evaluation.reports.comparison_tables import gathered_warnings, interval_table, results_table, spread_table
from evaluation.reports.forest import cider_forests
from evaluation.reports.gallery import gallery_examples
from evaluation.reports.html import write_report
from evaluation.reports.method_result import MethodResult
from evaluation.reports.plots import Example
from evaluation.reports.translation_tables import translation_table
from evaluation.table import Table

SPREADS = {  # further runs in results.json: what a column of their table is for, and what it shows
    "cross_domain": (attrgetter("evaluated_on"), "CIDEr on the data set of the training and on others"),
    "few_captions": (attrgetter("share"), "CIDEr after training on some of the captions"),
}
RESULTS = "results.json"
FACTS = ("command", "commit", "date", "machine", "versions")
# Defaults for files of older versions.
ABSENT = {"summary": "", "config": {}, "notes": (), "intervals": (), "plots": (), "minutes": None}


def write_comparison(folder: str | Path, results: Mapping, pictures: int, picture_side: int) -> str:
    """Write `results.json`, `table.md`, `table.tex` and `report.html`; returns the tables for a terminal."""
    folder = Path(folder)
    write_json(folder / RESULTS, results)
    tables = comparison_tables(read_comparison(folder)).values()
    parts = [table.markdown() for _, table in tables]
    write_whole(folder / "table.md", "\n\n".join([*parts, *results["notes"]]) + "\n")
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
    results = read_comparison(comparison)
    runs, intervals, notes = results["runs"], results["intervals"], list(results["notes"])
    examples, note = comparison_examples(results, pictures, decoding)
    facts = {name: results[name] for name in FACTS if name in results}
    devices = {"trained on": {run.training_device for run in runs}, "captioned on": {run.result.device for run in runs}}
    facts |= {what: "; ".join(sorted(names)) for what, some in devices.items() if (names := set(filter(None, some)))}
    facts["seeds"] = ", ".join(map(str, results["seeds"]))
    if results["minutes"] is not None:
        facts["minutes"] = f"{results['minutes']:g}"
    path = Path(path or (file.with_name("report.html") if file.name == RESULTS else file.with_suffix(".html")))
    plots = [(plot["caption"], file.with_name(plot["file"])) for plot in results["plots"]]
    write_report(
        path,
        results["title"],
        results["summary"],
        facts,
        list(comparison_tables(results).values()),
        [(caption, plot.read_bytes()) for caption, plot in plots if plot.is_file()],
        examples,
        [*notes, note] if note else notes,
        cider_forests(runs, intervals),
        gathered_warnings([run for key in ("runs", *SPREADS) for run in results[key]]),
        OmegaConf.to_yaml(OmegaConf.create(results["config"])) if results["config"] else "",
        picture_side,
        next((row["baseline"] for row in intervals if "baseline" in row), None),
    )
    return path


def results_file(comparison: str | Path) -> Path:
    """The file of results: `comparison` itself, or `results.json` in that folder."""
    return Path(comparison) / RESULTS if Path(comparison).is_dir() else Path(comparison)


def read_comparison(comparison: str | Path) -> dict:
    """A comparison's results, with defaults for what older versions left out.

    Its runs are MethodResults; a comparison of translations has none, but `translations`, rows as they are in the file.

    Raises:
        FileNotFoundError: there are no results.
        ValueError: the file is not of a comparison.
    """
    path = results_file(comparison)
    if not path.is_file():
        raise FileNotFoundError(
            f"No {RESULTS} in comparison={comparison}: run python scripts/compare_methods.py output_dir={comparison}"
        )
    results = read_object(path, "comparison")
    if not results.get("runs"):
        raise ValueError(f"{path} (option comparison) has no runs: it holds {', '.join(results)}, but no comparison")
    rows = results["runs"]
    seeds = sorted({row["seed"] for row in rows if row["seed"] is not None})
    title = f"Comparison {results.get('config', {}).get('name', '')}".strip()
    split = rows[0].get("split")
    translations = [row for row in rows if "row" in row]
    methods = {**results, "runs": []} if translations else results
    runs = {key: [MethodResult.from_json(row) for row in methods.get(key, ())] for key in ("runs", *SPREADS)}
    return {**ABSENT, "title": title, "seeds": seeds, "split": split, **results, **runs, "translations": translations}


def comparison_examples(results: Mapping, pictures: int, decoding: str | None) -> tuple[list[Example], str]:
    """Pictures with their captions, and a note that describes them, or says why there are no pictures.

    Raises:
        ValueError: no run has this decoding.
    """
    runs = results["runs"]
    if not pictures:
        return [], ""
    if "store_path" not in results or any(run.evaluation is None for run in runs):
        return [], "No pictures: the results do not say where the pictures and captions are."
    try:
        store = EmbeddingStore(results["store_path"])
        examples = gallery_examples(runs, store, results["split"], pictures, decoding)
    except FileNotFoundError as error:
        return [], f"No pictures: {error}"
    return examples, (
        f"Captions beside the pictures: seed {runs[0].seed}, {decoding or runs[0].decoding_name}; the numbers "
        "are each caption's CIDEr, times 100. Half of the pictures are evenly spaced in the split. In the others the "
        "CIDEr of two methods differs most, for every two methods in turn, so that counts among the pictures do not "
        "measure a method."
    )


def comparison_tables(results: Mapping) -> dict[str, tuple[str, Table]]:
    """{name: (caption, table)}. All comparisons of methods have the same names, and all of translations."""
    runs, intervals = results["runs"], results["intervals"]
    if rows := results["translations"]:
        directions = [name for name, value in rows[0].items() if isinstance(value, Mapping) and "similarity" in value]
        return {name: (name.replace("_", " ").capitalize(), translation_table(rows, name)) for name in directions}
    images = f"{runs[0].result.images:,} images of the split {results['split']}"
    tables = {"results": (f"Results on {images}", results_table(runs, intervals))}
    if intervals:
        tables["intervals"] = "CIDEr with 95 % intervals", interval_table(intervals)
    for key, (column, caption) in SPREADS.items():
        if results[key]:
            tables[key] = caption, spread_table([*(runs if key == "cross_domain" else ()), *results[key]], column)
    return tables
