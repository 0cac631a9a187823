"""Train methods under one protocol, evaluate them on the same images and test their differences.
See configs/compare_methods.yaml.

python scripts/compare_methods.py dataset=flickr8k_photos encoder=photo_clip 'seeds=[0,1,2]' baseline=c3
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from embedding_space.store import EmbeddingStore
from evaluation.comparison import RESAMPLES, bootstrap_interval, paired_comparison, read_per_image
from evaluation.facts import run_facts
from evaluation.table import Column, Table
from image_captioning.generation import Decoding
from scripts.method_runs import ORACLES, MethodRuns, find_methods
from training.cli import command
from training.config import CONFIGS, compose_config
from training.run_folder import write_whole


def results_table(runs: Sequence[Mapping], comparisons: Sequence[Mapping] = ()) -> Table:
    """One row a method, the seeds' values side by side; oracles compete for no best mark.

    CIDEr stands there for each decoding, with the difference from the baseline where there are `comparisons`; the other
    figures are of the first decoding.
    """
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


def signed_interval(comparison: Mapping) -> str:
    """`+9.2 [+7.1, +11.3]`: a difference with its 95 % interval."""
    return "{difference:+.1f} [{low:+.1f}, {high:+.1f}]".format(**comparison)


def compare(config: DictConfig) -> dict:
    """Run as `configs/compare_methods.yaml` says; returns what `results.json` holds."""
    started, facts = time.perf_counter(), run_facts()
    if config.baseline is not None and config.baseline not in config.methods:
        raise ValueError(f"baseline={config.baseline!r} must be null or one of methods={list(config.methods)}")
    if "CIDEr" not in config.metrics:
        raise ValueError(f"metrics={list(config.metrics)} must include CIDEr, by which methods are compared")
    method_runs = _method_runs(config)
    method_runs.check(config.seeds)
    store = EmbeddingStore(config.store)
    store.tables.references(config.split)  # a split that is not there stops it here
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    write_whole(output_dir / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    runs = list(method_runs.run(config.seeds))
    intervals = cider_intervals(method_runs, config.seeds, config.baseline)
    results = {
        **facts,
        "config": OmegaConf.to_container(config, resolve=True),
        "store": store.hash,
        "seeds": list(config.seeds),
        "images": runs[0]["images"],
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "intervals": intervals,
        "runs": runs,
    }
    table, tests = results_table(runs, [row for row in intervals if "difference" in row]), _interval_table(intervals)
    notes = _notes(config, results)
    write_whole(output_dir / "results.json", json.dumps(results, indent=2) + "\n")
    write_whole(output_dir / "table.md", f"{table.markdown()}\n\n{tests.markdown()}\n\n{notes}\n")
    print(f"\n{table.text()}\n\n{tests.text()}\n\n{notes}\n\nTable and figures: {output_dir}")
    return results


def _method_runs(config: DictConfig) -> MethodRuns:
    plain = OmegaConf.to_container(config, resolve=True)
    if not plain["decodings"] or len(set(plain["decodings"])) != len(plain["decodings"]):
        raise ValueError(f"decodings={plain['decodings']} must name at least one, each once")
    configs = {name: compose_config("eval_coco", f"decoding={name}").decoding for name in plain["decodings"]}
    groups = {group: plain[group] for group in ("dataset", "encoder")}
    overrides = {stage: _experiment(stage, config.stage_experiment, groups) for stage in ("ddpm", "image_captioning")}
    return MethodRuns(
        name=config.name,
        runs_dir=config.runs_dir,
        store=Path(config.store),
        methods=find_methods(plain["methods"], plain["oracles"], plain["variants"]),
        decodings={name: Decoding(**options) for name, options in configs.items()},
        split=config.split,
        metrics=plain["metrics"],
        cache_dir=config.cache_dir,
        ddpm=(*overrides["ddpm"], *plain["ddpm"]),
        captioner=(*overrides["image_captioning"], *plain["captioner"]),
        groups=groups,
    )


def _experiment(stage: str, name: str | None, groups: Mapping[str, Mapping]) -> list[str]:
    """The override that gives an experiment on to a stage, if it has settings for that one.

    Raises ValueError when they say something else of the data than `groups`, which take their place.
    """
    path = CONFIGS / "experiment" / str(name) / f"{stage}.yaml"
    if name is None or not path.is_file():
        return []
    own = OmegaConf.to_container(OmegaConf.load(path))
    for group, chosen in groups.items():
        for key, value in own.get(group, {}).items():
            if chosen.get(key) != value:
                raise ValueError(
                    f"experiment={name} sets {group}.{key}={value!r} for {stage}, but here it is {chosen.get(key)!r}: "
                    f"give {group}.{key}={value} here, too"
                )
    return [f"experiment={name}"]


def cider_intervals(method_runs: MethodRuns, seeds: Sequence[int], baseline: str | None) -> list[dict]:
    """For each method and decoding the CIDEr over all seeds with its interval, and the comparison with the baseline.

    Raises ValueError when two evaluations are not of the same images.
    """
    rows, images = [], None
    for decoding in method_runs.decodings:
        values = {}
        for method in method_runs.methods:
            folders = [method_runs.evaluation_dir(method, seed, decoding) for seed in seeds]
            found = [read_per_image(folder, "CIDEr") for folder in folders]
            if None in found:  # it could not run: the evaluation has said why
                continue
            images = images or found[0][0]
            for folder, (image_ids, _) in zip(folders, found, strict=True):
                if image_ids != images:
                    raise ValueError(f"{folder} is not of the same images as the others: delete it and run this again")
            values[method.name] = 100 * np.stack([part for _, part in found])
        for method in method_runs.methods:
            if method.name not in values:
                continue
            own = values[method.name]
            row = {"method": method.name, "decoding_name": decoding, "CIDEr": bootstrap_interval(own).to_dict()}
            # An oracle fed text is scored against fewer references: another scale.
            if baseline in values and method.name != baseline and method.caption_from == "images":
                row |= {"baseline": baseline, **paired_comparison(own, values[baseline]).to_dict()}
            rows.append(row)
    return rows


def _interval_table(intervals: Sequence[Mapping]) -> Table:
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


def _notes(config: DictConfig, results: Mapping) -> str:
    notes = [
        f"{results['images']:,} images of {config.dataset.name}'s split {config.split}, {len(config.seeds)} seed(s); "
        "mean ± standard deviation over seeds. CIDEr is CIDEr-D, with the n-gram weights of the whole split's "
        "references; CIDEr, BLEU and METEOR are times 100.",
        f"Intervals (95 %) and p over images: {RESAMPLES:,} bootstrap draws of the images, each image's CIDEr averaged "
        f"over seeds; they hold for these trained models. The smallest p to be had so is {2 / (RESAMPLES + 1):.2g}.",
    ]
    if config.baseline is not None:
        count = len(config.seeds)
        few = f", of which {count} are few" if count < 6 else ""
        notes.append(f"p over seeds: a paired t-test over the differences of the seeds{few}.")
    return "\n\n".join(notes)


main = command("compare_methods", compare)

if __name__ == "__main__":
    main()
