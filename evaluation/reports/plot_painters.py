"""A figure and a table of PCM-Nets on pictures of several painters.

The work behind `scripts/report.py painters=...`.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from pandas import DataFrame

from common.files import write_json, write_whole
from common.provenance import run_facts
from evaluation.reports.painter_plots import plot_painters
from evaluation.reports.painters import LABELS, PAINTER, read_painters
from evaluation.reports.plots import footnote, save_plot
from evaluation.reports.sweep_plots import shown
from evaluation.table import MISSING, Column, Table

PAINTERS_JSON = "painters.json"


def draw_painters(config: DictConfig) -> Path:
    """Draw `painters` of `configs/report.yaml`; returns the folder of its files."""
    facts, comparisons = run_facts(), [str(comparison) for comparison in config.painters]
    points, decoding, datasets = read_painters(comparisons, config.metric, config.shown_decoding)
    figure = plot_painters(points, config.metric)
    seeds = sorted(points["seed"].unique().tolist())
    averaged = f"mean of seeds {', '.join(map(str, seeds))} ± standard deviation" if len(seeds) > 1 else "one seed"
    footnote(figure, f"{', '.join(datasets)}; {decoding}; {averaged}")
    output_dir = Path(config.output or "outputs/sweeps/painters")
    save_plot(figure, output_dir, "painters")
    settings = {"comparisons": comparisons, "metric": config.metric, "decoding": decoding}
    write_json(output_dir / PAINTERS_JSON, {**facts, **settings, "points": points.to_dict("records")})
    table = painters_table(points)
    write_whole(output_dir / "painters.md", table.markdown() + "\n")
    print(f"{table.text()}\n\nFigure (PNG, SVG), painters.md and painters.json: {output_dir}")
    return output_dir


def painters_table(points: DataFrame) -> Table:
    """A row for each value of each panel and each method, a column for each painter: mean ± standard deviation."""
    ablation = points["panel"] == PAINTER  # whose values are the columns
    values = points["value"].map(shown).mask(ablation, MISSING)
    rows = []
    for key, some in points.assign(value=values).groupby(["panel", "value", "method"], sort=False):
        panel, value, method = map(str, key)  # pyright: ignore[reportArgumentType]
        scores = {shown(float(str(level))): of["score"].tolist() for level, of in some.groupby("level")}
        changed = "the ablation" if panel == PAINTER else LABELS[panel]
        rows.append({"changed": changed, "value": value, "method": method, **scores})
    levels = [Column(shown(level)) for level in sorted(points["level"].unique())]
    return Table(rows, [*map(Column, ("changed", "value", "method")), *levels])
