"""Train translations under one protocol and compare them with each other and with baselines.

The work behind `scripts/compare_translations.py`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from omegaconf import DictConfig

from common.device import best_device
from common.files import write_json, write_whole
from common.plain import plain
from common.provenance import run_facts
from comparison.trainings import (
    DATA,
    TrainingStage,
    check_overrides,
    check_stage_experiment,
    experiment_override,
    stage_config,
)
from evaluation.reports.comparison_report import RESULTS
from evaluation.reports.comparison_result import ComparisonResult
from evaluation.reports.translation_result import TranslationResult
from evaluation.reports.translation_tables import translation_table
from modality_translation.baselines import Linear, Mean, NearestNeighbors
from modality_translation.measure import SIMILARITY, translation_metrics, untranslated_metrics
from modality_translation.models import DIRECTIONS, Sampling
from modality_translation.pairs import PairedRows, PairedStores
from modality_translation.translation import load_translation
from modality_translation.tuning import best_of, best_sampling, check_grid

BASELINES = ("untranslated", "mean", "nearest", "linear")
CHOSEN = {"nearest": "neighbours", "linear": "ridges"}  # options of whose values validation pairs choose the best
KEYS = ("training", "of", "sampling", "tune")
SET_HERE = (*DATA, "seed", "output_dir", "validation_split", "image_store", "text_store")


@dataclass(frozen=True)
class Variant:
    """A row that is trained, or that evaluates what another one trains."""

    name: str
    trained: str
    training: list[str] = field(default_factory=list)
    sampling: dict = field(default_factory=dict)
    tune: dict = field(default_factory=dict)


def find_variants(config: DictConfig) -> list[Variant]:
    """The variants among `rows`, and those of the sweeps. Raises ValueError for unknown names, keys and values."""
    known = plain(config.variants)
    for name, options in known.items():
        if set(options) - set(KEYS) or ("training" in options) == ("of" in options):
            raise ValueError(f"variants.{name} must have training or of, and none but {', '.join(KEYS)}; got {options}")
        if "of" in options and "training" not in known.get(options["of"], {}):
            raise ValueError(f"variants.{name}: of={options['of']} is no variant that is trained")

    def variant(name: str) -> Variant:
        if name not in known:
            raise ValueError(f"Unknown row {name!r}; known: {', '.join([*BASELINES, *known])}")
        options = dict(known[name])
        trained = options.pop("of", name)
        return Variant(name, trained, known[trained]["training"], **{k: options[k] for k in KEYS[2:] if k in options})

    variants = [variant(name) for name in config.rows if name not in BASELINES]
    if config.sweep_of is not None:
        base = variant(config.sweep_of)
        for option, values in plain(config.sweeps).items():
            for value in values:
                sampling = {**base.sampling, option: value}
                tune = {name: grid for name, grid in base.tune.items() if name != option}
                variants.append(Variant(f"{base.name}, {option}={value}", base.trained, base.training, sampling, tune))
    names = [*(name for name in config.rows if name in BASELINES), *(variant.name for variant in variants)]
    if not names:
        raise ValueError("rows=[] with sweep_of=null asks for nothing: name one row at least")
    for each in variants:
        try:
            Sampling().changed(each.sampling)
            check_grid(each.tune)
        except ValueError as error:
            raise ValueError(f"variants.{each.name}: {error}") from error
    return variants


def compare(config: DictConfig) -> ComparisonResult:
    """Run as `configs/compare_translations.yaml` says; returns what `results.json` holds."""
    started, facts = time.perf_counter(), run_facts()
    seeds = list(config.seeds)
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds={seeds} must not be empty, nor name one twice")
    variants = find_variants(config)
    check_stage_experiment(config.stage_experiment, ("modality_translation",))
    check_overrides(chain(config.training, *(variant.training for variant in variants)), SET_HERE)
    stores = PairedStores(config.image_store, config.text_store)
    if "untranslated" in config.rows and not stores.is_joint:
        raise ValueError("rows: untranslated needs images and texts in one space, and these are not: leave it out")
    for option in CHOSEN.values():
        if not config[option]:
            raise ValueError(f"{option}={list(config[option])} must name at least one value to choose from")
    device = best_device()
    splits = (config.dataset.pairs_split, config.validation_split, config.split)
    training, validation, test = (stores.pairs(split, device) for split in splits)
    runs = [*_baselines(config, training, validation, test), *_variants(config, variants, seeds, validation, test)]
    order = [*config.rows, *(variant.name for variant in variants)]
    runs.sort(key=lambda run: order.index(run.row))  # the order of seeds stays
    minutes = round((time.perf_counter() - started) / 60, 1)
    text, markdown = [], []
    for direction in DIRECTIONS:
        table, title = translation_table(runs, direction), f"{direction.replace('_', ' ')} ({SIMILARITY[direction]})"
        text.append(f"{title}\n\n{table.text()}")
        markdown.append(f"### {title}\n\n{table.markdown()}")
    same = config.validation_split == config.split
    notes = (
        f"{config.dataset.name}'s split {config.split}: {len(test.images):,} images, {len(test.texts):,} captions; "
        f"{len(seeds)} seed(s), mean ± standard deviation. All rows but untranslated were trained on "
        f"{len(training.texts):,} pairs; what is tuned was chosen on {config.validation_split} by similarity"
        + (", the pairs that all are measured on: tuned rows, nearest and linear are flattered." if same else ".")
    )
    pairs = {"training": len(training.texts), "validation": len(validation.texts), "test": len(test.texts)}
    result = ComparisonResult(
        facts={**facts, **stores.hashes, "uses_pairs": True, "pairs": pairs},
        config=plain(config),
        split=config.split,
        seeds=seeds,
        translations=runs,
        minutes=minutes,
        notes=[notes],
    )
    output_dir = Path(config.output_dir)
    write_json(output_dir / RESULTS, result.to_json())
    write_whole(output_dir / "table.md", "\n\n".join([*markdown, notes]) + "\n")
    print("\n\n".join(["", *text, notes, f"Tables and results: {output_dir}"]))
    return result


def _baselines(
    config: DictConfig, training: PairedRows, validation: PairedRows, test: PairedRows
) -> Iterator[TranslationResult]:
    kinds = {"nearest": NearestNeighbors, "linear": Linear}
    for name in config.rows:
        started, metrics, chosen = time.perf_counter(), {}, {}
        if name == "untranslated":
            metrics = untranslated_metrics(test)
        elif name == "mean":
            metrics = translation_metrics(Mean(training), test, DIRECTIONS)
        elif name in kinds:
            candidates = {value: kinds[name](training, value) for value in config[CHOSEN[name]]}
            for direction in DIRECTIONS:
                value = best_of(candidates, validation, direction)
                chosen[direction] = {CHOSEN[name]: value}
                metrics |= translation_metrics(candidates[value], test, (direction,))
        else:
            continue
        seconds = time.perf_counter() - started
        yield TranslationResult(row=name, seed=None, seconds=seconds, chosen=chosen, metrics=metrics)


def _variants(
    config: DictConfig, variants: list[Variant], seeds: list[int], validation: PairedRows, test: PairedRows
) -> Iterator[TranslationResult]:
    for seed in seeds:
        for variant in variants:
            training = _training(config, variant, seed)
            training.train()
            translation = load_translation(training.folder)
            metrics, chosen = {}, {}
            for direction in translation.directions:
                sampling = dict(variant.sampling)
                if variant.tune:
                    sampling |= best_sampling(translation, validation, direction, variant.tune, sampling)
                    chosen[direction] = sampling
                metrics |= translation_metrics(translation, test, (direction,), **sampling)
            shown = ", ".join(
                f"{SIMILARITY[name]} {of_direction.similarity:.4f}" for name, of_direction in metrics.items()
            )
            print(f"seed {seed} {variant.name}: {shown}", flush=True)
            seconds = training.summary()["seconds"]
            yield TranslationResult(row=variant.name, seed=seed, seconds=seconds, chosen=chosen, metrics=metrics)


def _training(config: DictConfig, variant: Variant, seed: int) -> TrainingStage:
    folder = f"{config.runs_dir}/modality_translation/{config.name}_{variant.trained}_seed{seed}"
    experiment = experiment_override("modality_translation", config.stage_experiment)
    values = {"seed": seed, "output_dir": folder, "validation_split": config.validation_split}
    values |= {key: config[key] for key in ("dataset", "encoder", "image_store", "text_store")}
    overrides = [*experiment, *config.training, *variant.training]
    return TrainingStage("modality_translation", variant.name, stage_config("modality_translation", overrides, values))
