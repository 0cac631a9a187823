"""Train methods under one protocol, evaluate them on the same images and test their differences.

The work behind `scripts/compare_methods.py`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import chain
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from pandas import DataFrame

from common.config import compose_config
from common.files import write_whole
from common.plain import plain
from common.provenance import run_facts
from comparison.few_pairs import FROM_SCRATCH, TEXT_ONLY, check_startable, run_with_pairs, with_pairs
from comparison.kept_predictions import keep_predictions
from comparison.methods import STAGES, find_methods
from comparison.parts import Part, parts_of
from comparison.published import published_rows
from comparison.runs import MethodRuns, learned_from_images, search_captions, self_trained, shared_trainings
from comparison.trainings import check_overrides, check_stage_experiment, experiment_override
from comparison.tuning import Tuning
from embedding_space.encoders.identity import is_same_encoder
from embedding_space.store import EmbeddingStore
from evaluation.captions.scoring_options import Scoring, named, split_references
from evaluation.reports.comparison_report import write_comparison
from evaluation.reports.comparison_result import ComparisonResult, Plot
from evaluation.reports.comparison_tables import ORACLES, cider_intervals, pairwise_ciders
from evaluation.reports.gap_plot import gaps_of_methods, plot_gaps, prediction
from evaluation.reports.method_result import MethodResult
from evaluation.reports.plots import save_plot
from evaluation.reports.statistics import RESAMPLES
from evaluation.reports.sweep_plots import plot_lines
from image_captioning.generation import Decoding
from image_captioning.inference_inputs import IMAGE_MEANS


def compare(config: DictConfig) -> ComparisonResult:
    """Run as `configs/compare_methods.yaml` says; returns what `results.json` holds."""
    started, facts = time.perf_counter(), run_facts()
    if "CIDEr" not in config.metrics:
        raise ValueError(f"metrics={list(config.metrics)} must include CIDEr, by which methods are compared")
    method_runs = runs_of(config)
    published = published_rows(config.published, method_runs, config.seeds)
    names = [*config.methods, *published.methods]
    if config.baseline is not None and config.baseline not in names:
        raise ValueError(f"baseline={config.baseline!r} must be null or one of methods={names}")
    tuning = Tuning.of(config, method_runs, tried_elsewhere=published.methods)
    untried = tuning.untried(method_runs.methods)
    replace(method_runs, methods=untried).check(config.seeds)
    store = EmbeddingStore(config.store)
    _check_references(config, method_runs, store)
    elsewhere = _on_other_data(config, method_runs, store)
    fewer = _with_fewer_captions(config, method_runs, store)
    for runs_of_part in fewer.values():
        replace(runs_of_part, methods=untried).check(config.seeds)
    if config.few_pairs:
        check_startable(method_runs.methods)
    pairs = _pairs_to_add(config, replace(method_runs, methods=untried), store)
    output_dir = Path(config.output_dir)
    methods, tries = tuning.run(method_runs.methods)
    if tries:
        tuned = {"methods": methods, "tried": tuning.variants}
        method_runs = replace(method_runs, **tuned)
        elsewhere = {name: replace(others, **tuned) for name, others in elsewhere.items()}
        fewer = _with_fewer_captions(config, method_runs, store)
        for each in (method_runs, *fewer.values()):
            each.check(config.seeds)
        _pairs_to_add(config, method_runs, store)
    trained = list(method_runs.run(config.seeds))
    runs = [*trained, *published.runs]
    cross_domain = [
        replace(run, tested_on=name) for name, others in elsewhere.items() for run in others.run(config.seeds)
    ]
    few_captions = [
        replace(run, share=part.label, percent=part.percent)
        for part, others in fewer.items()
        for run in others.run(config.seeds)
    ]
    text_only = [run for run in trained if pairs and run.method not in ORACLES]
    few_pairs = [replace(run, pairs_share=TEXT_ONLY, percent=0.0) for run in text_only]
    for part in pairs:
        few_pairs += run_with_pairs(method_runs, part, config.seeds, *_pairs_overrides(config))
    plots = [_plot_parts(few_captions, output_dir, "few_captions", "captions")] if fewer else []
    if pairs:
        plots.append(_plot_parts(few_pairs, output_dir, "few_pairs", "pairs"))
    images = f"{runs[0].result.images:,} {store.manifest.medium}s"
    plots += _plot_gaps(runs, output_dir)
    result = ComparisonResult(
        facts=facts,
        title=f"Captioning methods on {config.dataset.name}",
        summary=f"{len({run.method for run in runs})} ways to train a captioner, under one protocol with the encoder "
        f"{config.encoder.name}, each with {len(config.seeds)} seed(s), on the same {images}.",
        config=plain(config),
        store=store.hash,
        store_path=str(store.path),
        split=config.split,
        seeds=list(config.seeds),
        images=runs[0].result.images,
        medium=store.manifest.medium,
        intervals=cider_intervals(runs, config.baseline),
        pairwise=pairwise_ciders(runs),
        runs=runs,
        cross_domain=cross_domain,
        few_captions=few_captions,
        few_pairs=few_pairs,
        tries=[*tries, *published.tries],
        plots=plots,
        minutes=round((time.perf_counter() - started) / 60, 1),
        notes=[
            *_notes(config, images, [*runs, *cross_domain]),
            *published.notes,
            *shared_trainings(runs),
            *learned_from_images(runs),
            *self_trained(runs),
            *search_captions(runs),
        ],
    )
    if config.predictions_dir is not None:
        keep_predictions(Path(config.predictions_dir) / config.name, result.all_runs)
    write_whole(output_dir / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    text = write_comparison(output_dir, result, config.pictures, config.picture_side)
    print(f"\n{text}\n\n{chr(10).join(result.notes)}\n\nTables, figures and report.html: {output_dir}")
    return result


def _check_references(config: DictConfig, method_runs: MethodRuns, store: EmbeddingStore) -> None:
    """Say which images will not be scored. Refuses a split that cannot be evaluated, before anything trains."""
    references = split_references(store, config.split)
    if any(method.caption_from == "texts" for method in method_runs.methods):
        references.without_first()
    if references.left_out:
        images = f"{named(references.left_out)} of {store.path.parent.name}'s split {config.split}"
        print(f"Left out, for there are no captions to score against: {images}")


def _on_other_data(config: DictConfig, method_runs: MethodRuns, store: EmbeddingStore) -> dict[str, MethodRuns]:
    """{data set: the same captioners, evaluated on it}. Refuses what cannot be evaluated, before anything trains."""
    mean_from = config.test_image_mean_from
    if mean_from not in IMAGE_MEANS:
        raise ValueError(f"test_image_mean_from={mean_from!r} must be one of {', '.join(IMAGE_MEANS)}")
    paths = [Path(name) for name in config.test_on]
    for row, name in enumerate(config.test_on):
        if "/" not in name:
            paths[row] = Path(compose_config("eval_coco", f"dataset={name}").dataset.root) / config.encoder.name
    names = [path.parent.name for path in (store.path, *paths)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(
            f"test_on={list(config.test_on)} has, with the training's, more than one data set {min(twice)!r}"
        )
    others = {}
    for name, path in zip(config.test_on, paths, strict=True):
        other = EmbeddingStore(path)
        _check_references(config, method_runs, other)
        if store.dim != other.dim or not is_same_encoder(store.manifest.encoder, other.manifest.encoder):
            raise ValueError(f"test_on={name}: {path} was made by another encoder than {store.path}")
        mean = "_image_mean_from_store" if mean_from == "store" else ""
        ending = f"{method_runs.ending}_on_{path.parent.name}{mean}"
        options = {"test_store": path, "ending": ending, "image_mean_from": mean_from}
        others[path.parent.name] = replace(method_runs, **options)
    return others


def _with_fewer_captions(config: DictConfig, method_runs: MethodRuns, store: EmbeddingStore) -> dict[Part, MethodRuns]:
    """{part of the captions: the same methods trained on it}; an oracle trained on pairs has none of these captions."""
    method_runs = replace(method_runs, methods=[one for one in method_runs.methods if one.train_on != "pairs"])
    everything = len(store.tables.caption_rows(store.text_split))
    parts = parts_of("few_captions", config.few_captions, everything, "captions")
    return {part: method_runs if part.is_everything else _on_captions(method_runs, part) for part in parts}


def _on_captions(method_runs: MethodRuns, part: Part) -> MethodRuns:
    kind = "" if part.name.endswith("pct") else "captions"
    return replace(method_runs, name=f"{method_runs.name}_{part.name}{kind}", corpus_captions=part.count)


def _pairs_to_add(config: DictConfig, method_runs: MethodRuns, store: EmbeddingStore) -> list[Part]:
    """The parts of the pairs that text-only captioners go on with. Refuses what cannot, before anything trains."""
    if not config.few_pairs:
        return []
    check_startable(method_runs.methods)
    check_overrides(chain(*_pairs_overrides(config)), ("train_captions", "init_from"))
    everything = len(store.tables.caption_rows(config.dataset.pairs_split))
    parts = parts_of("few_pairs", config.few_pairs, everything, "pairs")
    for part in parts:
        for seed in config.seeds:
            with_pairs(method_runs, part, seed, *_pairs_overrides(config)).check([seed])
    return parts


def _pairs_overrides(config: DictConfig) -> tuple[list[str], list[str]]:
    return list(config.few_pairs_captioner), list(config.fine_tuning)


def _plot_parts(runs: list[MethodResult], output_dir: Path, name: str, kind: str) -> Plot:
    option = f"% of the training {kind}"
    rows = [
        {"method": run.method, option: run.percent, "CIDEr": run.cider}
        for run in runs
        if run.decoding_name == runs[0].decoding_name and run.cider is not None
    ]
    save_plot(plot_lines(DataFrame(rows), option, "CIDEr", "method"), output_dir, name)
    caption = f"CIDEr after training on a part of the {kind}; mean ± standard deviation over seeds."
    return Plot(f"{name}.svg", caption)


def _plot_gaps(runs: list[MethodResult], output_dir: Path) -> list[Plot]:
    methods = gaps_of_methods(runs)
    if not (fits := prediction(methods)):
        return []
    save_plot(plot_gaps(methods), output_dir, "gaps")
    shares = ", ".join(f"{name.replace('_', ' ')} {r2:.2f}" for name, (r2, _) in fits.items())
    caption = (
        f"What the alignments leave of the gap, and CIDEr: {len(methods)} methods, means over seeds. Share of CIDEr's "
        f"variance (R²) that a line explains: {shares}. Texts are aligned without noise."
    )
    return [Plot("gaps.svg", caption)]


def runs_of(config: DictConfig) -> MethodRuns:
    """What the comparison trains and evaluates. Raises ValueError for unknown methods or decodings."""
    options = plain(config)
    if not options["decodings"] or len(set(options["decodings"])) != len(options["decodings"]):
        raise ValueError(f"decodings={options['decodings']} must name at least one, each once")
    configs = {name: compose_config("eval_coco", f"decoding={name}").decoding for name in options["decodings"]}
    check_stage_experiment(config.stage_experiment, STAGES)
    groups = {group: options[group] for group in ("dataset", "encoder")}
    overrides = {
        stage: [*experiment_override(stage, config.stage_experiment, groups), *options[option]]
        for stage, option in STAGES.items()
    }
    return MethodRuns(
        name=config.name,
        runs_dir=config.runs_dir,
        store=Path(config.store),
        methods=find_methods(options["methods"], options["oracles"], options["variants"]),
        decodings={name: Decoding(**options) for name, options in configs.items()},
        split=config.split,
        scoring=Scoring(tuple(options["metrics"]), config.cache_dir, classes=tuple(options["classes"])),
        overrides=overrides,
        groups=groups,
    )


def _notes(config: DictConfig, images: str, runs: list[MethodResult]) -> list[str]:
    notes = [
        f"{images} of {config.dataset.name}'s split {config.split}, {len(config.seeds)} seed(s); "
        "mean ± standard deviation over seeds. CIDEr is CIDEr-D, with the n-gram weights of the whole split's "
        "references; CIDEr, BLEU and METEOR are times 100.",
        f"Intervals (95 %) and p over images: {RESAMPLES:,} bootstrap draws of the images, each image's CIDEr averaged "
        f"over seeds; they hold for these trained models. The smallest p to be had so is {2 / (RESAMPLES + 1):.2g}.",
    ]
    evaluated = {run.evaluated_on: run.result.left_out for run in runs}
    for dataset, left_out in evaluated.items():
        if left_out:
            notes.append(f"Left out, as they have no captions: {named(left_out.image_ids)} of {dataset}.")
    if config.baseline is not None:
        count = len(config.seeds)
        few = f", of which {count} are few" if count < 6 else ""
        notes.append(f"p over seeds: a paired t-test over the differences of the seeds{few}.")
    if config.get("tries"):
        several = [name for name, tries in config.tries.items() if len(tries) > 1]
        notes.append(
            f"Settings that were tried: the best by CIDEr on the split {config.tune_split}, with seed "
            f"{config.tune_seed} and {config.tune_decoding}, are used with all seeds. References have chosen, so that "
            f"these are selected on pairs: {', '.join(several) or 'none'}."
        )
    if config.tried:
        notes.append(f"Tries that were made in earlier comparisons were not made again: {', '.join(config.tried)}.")
    if config.few_captions:
        notes.append(
            "Training on some of the captions: drawn once, the fewer among the more; diffusion model, memory and text "
            "mean know no others. All have the same number of training steps and the same validation captions."
        )
    if config.few_pairs:
        notes.append(
            f"With pairs: captioners that learned from text alone go on with image-text pairs of the split "
            f"{config.dataset.pairs_split}, drawn by the seed, from images as each method reads them; {FROM_SCRATCH} "
            "learns from the same pairs alone. All of these use pairs."
        )
    if config.test_on:
        notes.append(
            "On other data sets: the captioners as trained; the image mean is "
            + ("the training data's." if config.test_image_mean_from == "checkpoint" else "of their training images.")
        )
    return notes
