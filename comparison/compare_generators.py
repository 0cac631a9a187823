"""Train generators of pictures by several methods and score what each draws.

The work behind `scripts/compare_generators.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from PIL import Image

from common.files import whole_file, write_json, write_whole
from common.plain import plain
from common.provenance import run_facts
from comparison.generator_runs import GeneratorRuns, find_generators
from evaluation.pictures.comparison import GeneratorComparison, GeneratorRow, generator_table
from evaluation.pictures.generated import LIST
from evaluation.pictures.result import PictureProtocol
from evaluation.reports.comparison_report import RESULTS
from image_generation.contact_sheet import labeled_grid

GRID = "grid.png"


def compare(config: DictConfig) -> GeneratorComparison:
    """Run as `configs/compare_generators.yaml` says; returns what `results.json` holds.

    Raises:
        ValueError: unknown methods or options, or folders that hold other runs.
        FileNotFoundError: the store is missing.
    """
    started, facts = time.perf_counter(), run_facts()
    runs = GeneratorRuns(config, find_generators(config.methods, plain(config.variants)))
    runs.check()
    rows, results = zip(*runs.run(), strict=True)
    table, protocol = generator_table(rows, config.upper_bounds), results[0].protocol
    output_dir = Path(config.output_dir)
    comparison = GeneratorComparison(
        facts=facts,
        config=plain(config),
        rows=list(rows),
        protocol=protocol,
        minutes=round((time.perf_counter() - started) / 60, 1),
        notes=_notes(config, rows, protocol),
    )
    write_json(output_dir / RESULTS, comparison.to_json(), ensure_ascii=False)
    write_whole(output_dir / "table.md", "\n\n".join([table.markdown(), *comparison.notes]) + "\n")
    if config.examples:
        _write_grid(output_dir / GRID, rows, config.examples)
    print("\n".join(["", table.text(), "", *comparison.notes, f"Table, results and pictures: {output_dir}"]))
    return comparison


def _notes(config: DictConfig, rows: Sequence[GeneratorRow], protocol: PictureProtocol) -> list[str]:
    generators, draws = len(config.seeds), len(config.evaluation_seeds)
    side = protocol.picture_size
    notes = [
        f"Mean ± standard deviation over {generators} training(s) and {draws} drawing(s) of each: "
        f"{protocol.pictures:,} pictures of captions of {config.dataset.name}, as squares of {side} pixels."
    ]
    shared = {row.method: row.trained_as for row in rows if row.trained_as != row.method}
    notes += [f"{method} draws with the generator of {trained}." for method, trained in shared.items()]
    if paired := [name for name in dict.fromkeys(row.method for row in rows if row.uses_pairs)]:
        notes.append(f"Learned from image-text pairs: {', '.join(paired)}.")
    if "oracle" in shared:
        notes.append("oracle draws from the images' own embeddings, and is no method.")
    return notes


def _write_grid(path: Path, rows: Sequence[GeneratorRow], count: int) -> None:
    """The first generators' first pictures of some sentences, evenly spaced: a column a method."""
    first = {row.method: Path(row.evaluation) / "pictures" for row in reversed(rows)}
    columns, labels = [], []
    for method in dict.fromkeys(row.method for row in rows):
        listed = json.loads((first[method] / LIST).read_text(encoding="utf-8"))["images"]
        chosen = [listed[len(listed) * number // count] for number in range(min(count, len(listed)))]
        labels = [entry["sentence"] for entry in chosen]
        columns.append((method, [_opened(first[method] / entry["file"]) for entry in chosen]))
    with whole_file(path) as temporary:
        labeled_grid(columns, labels).save(temporary, format="PNG")


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")
