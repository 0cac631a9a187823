"""A comparison's folder: `results.json`, and what is made of it: the table as Markdown and LaTeX, and `report.html`.

`results.json` holds the facts of its command, `title`, `summary`, `notes`, `runs` and `intervals` (see
`comparison_tables.py`), where the embeddings are (`store_path`), the `split`, and `plots`, SVG files of the same folder
with what they show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from omegaconf import OmegaConf

from embedding_space.store import EmbeddingStore
from evaluation.reading import read_object
from evaluation.reports.comparison_tables import gathered_warnings, interval_table, results_table, spread_table
from evaluation.reports.forest import cider_forests
from evaluation.reports.gallery import gallery_examples
from evaluation.reports.html import write_report
from evaluation.table import Table

SPREADS = {  # further runs in results.json: the key of their column, and what their table shows
    "cross_domain": ("tested_on", "CIDEr on the data set of the training and on others"),
    "few_captions": ("share", "CIDEr after training on some of the captions"),
}
FACTS = ("command", "commit", "date", "machine", "versions")
_ANY = {"encoding": "utf-8", "errors": "backslashreplace"}  # names of files may hold what UTF-8 lacks
NEEDED = ("runs", "intervals", "store_path", "split", "config", "title")


def write_comparison(folder: str | Path, results: Mapping, pictures: int, picture_side: int) -> str:
    """Write `results.json`, `table.md`, `table.tex` and `report.html`; returns the tables for a terminal."""
    folder, tables = Path(folder), comparison_tables(results).values()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    parts = [table.markdown() for _, table in tables]
    (folder / "table.md").write_text("\n\n".join([*parts, *results["notes"]]) + "\n", **_ANY)
    latex = [f"% {caption}\n{table.latex()}" for caption, table in tables]
    (folder / "table.tex").write_text("% Needs \\usepackage{booktabs}\n" + "\n\n".join(latex) + "\n", **_ANY)
    write_comparison_report(folder, pictures=pictures, picture_side=picture_side)
    return "\n\n".join([table.text() for _, table in tables])


def write_comparison_report(
    folder: str | Path,
    path: str | Path | None = None,
    pictures: int = 60,
    picture_side: int = 320,
    decoding: str | None = None,
) -> None:
    """`report.html` of a finished comparison, with at most so many pictures of at most `picture_side` pixels.

    path: by default `report.html` in the folder. decoding: of the captions beside the pictures, by default the first.
    Raises FileNotFoundError and ValueError for a folder that holds no comparison, or one without what a report needs.
    """
    folder = Path(folder)
    results = read_comparison(folder)
    examples, notes = [], list(results["notes"])
    if pictures:
        store = EmbeddingStore(results["store_path"])
        examples = gallery_examples(results["runs"], store, results["split"], pictures, decoding)
        first = results["runs"][0]
        notes.append(
            f"Captions beside the pictures: seed {first['seed']}, {decoding or first['decoding_name']}; the numbers "
            "are each caption's own CIDEr, times 100. Half of the pictures are evenly spaced in the split; the others "
            "are those where the CIDEr of two methods differ most, every two methods in turn: counts among the "
            "pictures shown are no measure of a method."
        )
    facts = {name: results[name] for name in FACTS if name in results}
    for what, key in (("trained on", "training_device"), ("captioned on", "device")):
        if devices := sorted({run[key] for run in results["runs"] if run.get(key)}):
            facts[what] = "; ".join(devices)
    facts |= {"seeds": ", ".join(map(str, results["seeds"])), "minutes": f"{results['minutes']:g}"}
    intervals = results["intervals"]
    runs = [run for key in ("runs", *SPREADS) for run in results.get(key, ())]
    write_report(
        path or folder / "report.html",
        results["title"],
        results["summary"],
        facts,
        list(comparison_tables(results).values()),
        [(plot["caption"], (folder / plot["file"]).read_bytes()) for plot in results.get("plots", ())],
        examples,
        notes,
        cider_forests(results["runs"], intervals),
        gathered_warnings(runs),
        OmegaConf.to_yaml(OmegaConf.create(results["config"])),
        picture_side,
        next((row["baseline"] for row in intervals if "baseline" in row), None),
    )


def read_comparison(folder: str | Path) -> dict:
    """A comparison's `results.json`. Raises FileNotFoundError, and ValueError when it lacks what a report needs."""
    path = Path(folder) / "results.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"No results.json in comparison={folder}: run python scripts/compare_methods.py output_dir={folder}"
        )
    results = read_object(path, "comparison")
    missing = [key for key in NEEDED if key not in results]
    if any("evaluation" not in run for run in results.get("runs", ())):
        missing.append("runs.evaluation")
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}: run the command that made it again, which re-uses what is finished: "
            f"{results.get('command', 'python scripts/compare_methods.py')}"
        )
    return results


def comparison_tables(results: Mapping) -> dict[str, tuple[str, Table]]:
    """{name, the same in all comparisons: (what it shows, table)}."""
    runs, intervals = results["runs"], results["intervals"]
    images = f"{runs[0]['images']:,} images of the split {results['split']}"
    tables = {"results": (f"Results on {images}", results_table(runs, intervals))}
    if intervals:
        tables["intervals"] = "CIDEr with 95 % intervals", interval_table(intervals)
    for key, (column, caption) in SPREADS.items():
        if results.get(key):
            home = [{**run, column: run["evaluated_on"]["dataset"]} for run in runs] if key == "cross_domain" else []
            tables[key] = caption, spread_table([*home, *results[key]], column)
    return tables
