"""Which gap predicts the captions: CIDEr of all methods against what their alignments leave of the modality gap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from evaluation.reports.comparison_tables import ORACLES
from evaluation.reports.method_result import MethodResult
from evaluation.reports.plots import BLUE, GRAY, STYLE

# Of `Gap`: the raw gap's two usual measures, and the gap that TPC-CMA (arXiv 2604.00279) finds to predict captions.
MEASURES = {
    "centroid_distance": "distance of the means",
    "pair_distance": "distance of pairs",
    "distribution_gap": "distance of pairs, centered",
}
FEWEST = 4  # methods: a line goes through two, and nearly through three


def gaps_of_methods(runs: Sequence[MethodResult]) -> DataFrame:
    """CIDEr and gaps of each method with the first decoding, means over its seeds; oracles are no methods.

    Methods without a gap or CIDEr, as in results of earlier versions, are left out.
    """
    rows = []
    for run in runs:
        gap = run.result.gap
        known = gap is not None and gap.distribution_gap is not None and run.cider is not None
        if known and run.method not in ORACLES and run.decoding_name == runs[0].decoding_name:
            measured = {name: getattr(gap, name) for name in MEASURES}
            rows.append({"method": run.method, "CIDEr": run.cider, **measured})
    if not rows:
        return DataFrame(columns=["method", "CIDEr", *MEASURES])
    names = list(dict.fromkeys(row["method"] for row in rows))
    table = DataFrame(rows).set_index("method")
    means = {name: table.loc[[name]].mean() for name in names}
    return DataFrame(means).T.rename_axis("method").reset_index()


def prediction(methods: DataFrame) -> Mapping[str, tuple[float, float]]:
    """{measure: (R² of a line, Spearman's rank correlation) of CIDEr with it}; none of fewer than `FEWEST` methods."""
    if len(methods) < FEWEST:
        return {}
    ciders = methods["CIDEr"]
    return {
        name: (methods[name].corr(ciders) ** 2, methods[name].corr(ciders, method="spearman"))
        for name in MEASURES
        if methods[name].nunique() > 1 and ciders.nunique() > 1
    }


def plot_gaps(methods: DataFrame) -> Figure:
    """A panel for each measure: a point for each method, and the line whose R² the title has."""
    fits = prediction(methods)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2 * len(fits), 4.4), layout="constrained")
        panels = figure.subplots(1, len(fits), sharey=True, squeeze=False)[0]
        for panel, (name, (r2, rank)) in zip(panels, fits.items(), strict=True):
            x, ciders = methods[name].to_numpy(float), methods["CIDEr"].to_numpy(float)
            slope, intercept = np.polyfit(x, ciders, 1)
            ends = np.array([x.min(), x.max()])
            panel.plot(ends, intercept + slope * ends, color=GRAY, linewidth=1, linestyle="--")
            panel.scatter(x, ciders, color=BLUE, s=22)
            _label(panel, methods["method"], x, ciders)
            panel.set_xlabel(MEASURES[name])
            panel.set_title(f"R² {r2:.2f}, rank correlation {rank:+.2f}")
        panels[0].set_ylabel("CIDEr")
    return figure


def _label(panel: Axes, names: Iterable[str], x: np.ndarray, y: np.ndarray) -> None:
    """Write names beside points: to the left of those at the right, and above each other where points are close."""
    width, line = np.ptp(x), np.ptp(y) / 36
    written: list[tuple[bool, float, float]] = []
    for name, point, level in sorted(zip(names, x, y, strict=True), key=lambda entry: entry[2]):
        right = bool(point > x.min() + 0.6 * width)
        near = [other for side, place, other in written if side == right and abs(place - point) < width / 3]
        height = max([level, *(other + line for other in near)])
        written.append((right, point, height))
        offset, side = ((-4, -2), "right") if right else ((4, -2), "left")
        panel.annotate(name, (point, height), offset, textcoords="offset points", ha=side, fontsize=6, color="#333333")
    panel.set_ylim(top=max(panel.get_ylim()[1], max(height for _, _, height in written) + 2 * line))
