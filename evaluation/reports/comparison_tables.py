"""What a comparison's runs come to: CIDEr with its intervals, paired tests and the tables that show them.

A run is a row of a comparison's `results.json`: an evaluation's figures with `method`, `seed`, `decoding_name`,
`total_seconds` and `evaluation`, the folder of its predictions and per-image scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.reports.statistics import bootstrap_interval, paired_comparison, read_per_image
from evaluation.table import Column, Table

ORACLES = ("oracle_pairs", "oracle_text")  # upper bounds, which compete for no best mark


def cider_intervals(runs: Sequence[Mapping], baseline: str | None) -> list[dict]:
    """For each method and decoding the CIDEr over all seeds with its interval, and the comparison with the baseline.

    Raises ValueError when two evaluations are not of the same images.
    """
    rows, images = [], None
    for decoding in dict.fromkeys(run["decoding_name"] for run in runs):
        values, from_images = {}, {}
        for method in dict.fromkeys(run["method"] for run in runs):
            own = [run for run in runs if (run["method"], run["decoding_name"]) == (method, decoding)]
            found = [read_per_image(run["evaluation"], "CIDEr") for run in own]
            if None in found:  # it could not run: the evaluation has said why
                continue
            images = images or found[0][0]
            for run, (image_ids, _) in zip(own, found, strict=True):
                if image_ids != images:
                    raise ValueError(
                        f"{run['evaluation']} is not of the same images as the others: delete it and run this again"
                    )
            values[method] = 100 * np.stack([part for _, part in found])
            from_images[method] = own[0]["caption_from"] == "images"
        for method, own in values.items():
            row = {"method": method, "decoding_name": decoding, "CIDEr": bootstrap_interval(own).to_dict()}
            # An oracle fed text is scored against fewer references: another scale.
            if baseline in values and method != baseline and from_images[method]:
                row |= {"baseline": baseline, **paired_comparison(own, values[baseline]).to_dict()}
            rows.append(row)
    return rows


def results_table(runs: Sequence[Mapping], intervals: Sequence[Mapping] = ()) -> Table:
    """One row a method, the seeds' values side by side; oracles compete for no best mark.

    CIDEr stands there for each decoding, with the difference from the baseline where `intervals` have it; the other
    figures are of the first decoding.
    """
    comparisons = [row for row in intervals if "difference" in row]
    decodings = list(dict.fromkeys(run["decoding_name"] for run in runs))
    several = len(decodings) > 1
    columns, rows = [Column("method")], []
    for decoding in decodings:
        name = f"CIDEr {decoding}" if several else "CIDEr"
        columns.append(Column(name, 1, "higher"))
        columns += [Column(f"{name} vs {base}") for base in dict.fromkeys(c["baseline"] for c in comparisons)]
    columns += [Column("BLEU-4", 1, "higher"), Column("METEOR", 1, "higher"), Column("cosine to texts", 3, "higher")]
    columns += [Column("R@1 %", 1, "higher"), Column("seconds", 0)]
    for method in dict.fromkeys(run["method"] for run in runs):
        row: dict = {"method": method}
        for decoding in decodings:
            name = f"CIDEr {decoding}" if several else "CIDEr"
            own = [run for run in runs if (run["method"], run["decoding_name"]) == (method, decoding)]
            row[name] = [run["metrics"].get("CIDEr") for run in own]
            for found in comparisons:
                if (found["method"], found["decoding_name"]) == (method, decoding):
                    row[f"{name} vs {found['baseline']}"] = signed_interval(found)
        own = [run for run in runs if (run["method"], run["decoding_name"]) == (method, decodings[0])]
        # An oracle fed text has no images to bring near their texts.
        gaps = [None if method == "oracle_text" else run["gap"] for run in own]
        row |= {name: [run["metrics"].get(name) for run in own] for name in ("BLEU-4", "METEOR")}
        row["cosine to texts"] = [gap and gap["paired_cosine"] for gap in gaps]
        row["R@1 %"] = [gap and 100 * gap["image_to_text_recall_at_1"] for gap in gaps]
        row["seconds"] = [run["total_seconds"] for run in own]
        rows.append(row)
    return Table(rows, columns, unranked=ORACLES)


def interval_table(intervals: Sequence[Mapping]) -> Table:
    """One row a method and decoding: CIDEr with its interval, and the tests against the baseline."""
    rows = []
    for found in intervals:
        cider = found["CIDEr"]
        row = {"method": found["method"], "decoding": found["decoding_name"], "CIDEr": cider["value"]}
        row["95 % interval"] = f"[{cider['low']:.1f}, {cider['high']:.1f}]"
        if "difference" in found:
            seeds = found["p_seeds"]
            row |= {
                f"vs {found['baseline']}": signed_interval(found),
                "p over images": f"{found['p_images']:.2g}",
                "differences of the seeds": " ".join(f"{value:+.1f}" for value in found["per_seed"]),
                "p over seeds": None if seeds is None else f"{seeds:.2g}",
            }
        rows.append(row)
    return Table(rows)


def spread_table(runs: Sequence[Mapping], key: str) -> Table:
    """CIDEr of the first decoding, one row a method and one column a value of the runs' `key`, in the order met."""
    runs = [run for run in runs if run["decoding_name"] == runs[0]["decoding_name"]]
    values = list(dict.fromkeys(run[key] for run in runs))
    rows = []
    for method in dict.fromkeys(run["method"] for run in runs):
        own = [run for run in runs if run["method"] == method]
        rows.append(
            {"method": method}
            | {str(value): [run["metrics"].get("CIDEr") for run in own if run[key] == value] for value in values}
        )
    return Table(rows, [Column("method"), *(Column(str(value), 1, "higher") for value in values)], unranked=ORACLES)


def signed_interval(comparison: Mapping) -> str:
    """`+9.2 [+7.1, +11.3]`: a difference with its 95 % interval."""
    return "{difference:+.1f} [{low:+.1f}, {high:+.1f}]".format(**comparison)


def gathered_warnings(runs: Sequence[Mapping]) -> list[str]:
    """What is suspicious about the runs and which metrics could not run, each with the runs that it is said of."""
    said: dict[str, list[str]] = {}
    for run in _each_once(runs):
        missing = [f"{name} could not run: {reason}" for name, reason in run.get("unavailable", {}).items()]
        for text in (*run.get("warnings", ()), *missing):
            which = f" on {run['tested_on']}" if "tested_on" in run else ""
            which += f", {run['share']} of the captions" if "share" in run else ""
            said.setdefault(text, []).append(f"{run['method']} seed {run['seed']} {run['decoding_name']}{which}")
    return [f"{_shortened(who)}: {text}" for text, who in said.items()]


def _each_once(runs: Sequence[Mapping]) -> list[Mapping]:
    """A run of all captions is in two tables."""
    first: dict[str, Mapping] = {}
    for n, run in enumerate(runs):
        first.setdefault(run.get("evaluation", str(n)), run)
    return list(first.values())


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
