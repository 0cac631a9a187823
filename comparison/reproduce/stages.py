"""The stages of a table: their configs, what runs them, whether they are done, and what they came to."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

import image_captioning.run_names  # noqa: F401, registers ${run_name:...}
from alignment.options import expand_steps, step_entries
from alignment.steps import BASIC_STEPS
from common.config import compose_config, override
from common.plain import plain
from comparison.compare_methods import compare as compare_methods
from comparison.compare_translations import SIMILARITY
from comparison.compare_translations import compare as compare_translations
from comparison.prepare_data import prepare
from comparison.reproduce.table import PublishedTable, StageOptions
from comparison.trainings import TRAIN, TrainingStage, check_overrides
from embedding_space.errors import MissingStore
from embedding_space.splits import spelled
from embedding_space.store import EmbeddingStore
from evaluation.captions.metrics import NAMES
from evaluation.captions.result import EvaluationResult
from evaluation.reports.comparison_result import ComparisonResult
from image_captioning.alignments import STEPS
from image_captioning.eval_coco import evaluate
from pcm_net.load import load_captioner
from synthetic_images.provenance import FILE as PAINTED
from synthetic_images.provenance import Provenance
from synthetic_images.synthesize import synthesize
from training.run_folder import first_difference

RESULTS = "results.json"
Measured = dict[str, dict[str, dict[int | None, float | None]]]  # {row: {metric: {seed: its value, or None}}}


def _evaluate(config: DictConfig) -> object:
    return evaluate(config, partial(load_captioner, concepts=config.concepts))


# stage: what its command calls. A training has a seed, and so has the evaluation of what it trained.
RUN: dict[str, Callable[[DictConfig], object]] = {
    "prepare_data": prepare,
    "synthesize_images": synthesize,
    **{name: TRAIN[name] for name in ("ddpm", "image_captioning", "pcm_net")},
    "eval_coco": _evaluate,
    "compare_methods": compare_methods,
    "compare_translations": compare_translations,
}
COMPARISONS = ("compare_methods", "compare_translations")
CAPTIONERS = ("image_captioning", "pcm_net")


@dataclass(frozen=True)
class PlannedStage:
    """A stage with its config.

    options: as the table has it. arguments: of its command. seed: None where one run serves all seeds.
    """

    options: StageOptions
    arguments: tuple[str, ...]
    config: DictConfig
    seed: int | None = None

    @property
    def name(self) -> str:
        return self.options.stage

    @property
    def label(self) -> str:
        """What it is called: the stage, what it is about, and the seed."""
        about = self.config.get("name") or self.config.get("dataset", {}).get("name")
        if self.name == "prepare_data":
            about = f"{self.config.dataset.name}, {self.config.encoder.name if self.config.encode else 'tables'}"
        if self.name == "eval_coco":
            about = Path(self.config.output_dir).name
        return f"{self.name} ({about})"

    @property
    def folder(self) -> Path:
        """What it makes."""
        if self.name == "prepare_data":
            root = Path(self.config.dataset.root)
            return root / self.config.encoder.name if self.config.encode else root
        if self.name == "synthesize_images":
            return Path(self.config.dataset.root).parent / self.config.name
        return Path(self.config.output_dir)

    @property
    def command(self) -> str:
        """The command line that runs this stage alone, which is then recognized as done."""
        program = f"-m {self.name}.train" if self.name in TRAIN else f"scripts/{self.name}.py"
        return f"python {program} {shlex.join(self.arguments)}"

    def is_done(self) -> bool:
        """Whether what it makes is there.

        Raises:
            ValueError: its folder holds a run of another configuration, or what is there is damaged.
        """
        if self.name == "prepare_data":
            return self._is_prepared()
        if self.name == "synthesize_images":
            return self._is_painted()
        if self.name in TRAIN:
            training = TrainingStage(self.name, self.label, self.config)
            if difference := training.difference():
                raise self._other(difference)
            return training.is_finished
        config = self._earlier_config()
        if config is None:
            return False
        difference = first_difference(config, plain(self.config))
        if self.name in COMPARISONS:  # which reuse their runs, and refuse those of others, for themselves
            return difference is None
        if difference:
            raise self._other(difference)
        return self._is_scored()

    @property
    def measures(self) -> bool:
        """Whether it measures what earlier stages made."""
        return self.name == "eval_coco" or self.name in COMPARISONS

    def run(self) -> None:
        """Run it; it goes on where an earlier run stopped."""
        RUN[self.name](self.config)

    def measured(self) -> Measured:
        """What it measured, of a stage that measures, once it is done."""
        if self.name == "eval_coco":
            scores = json.loads((self.folder / "scores.json").read_text())
            metrics = EvaluationResult.from_json(scores).metrics
            return {"": {name: {self.seed: value} for name, value in metrics.items()}}
        if self.name not in COMPARISONS:
            return {}
        result = ComparisonResult.from_json(json.loads((self.folder / RESULTS).read_text()))
        measured: Measured = {}
        for run in result.runs:
            if run.decoding_name == result.runs[0].decoding_name:
                _add(measured, run.method, run.seed, run.result.metrics)
        for row in result.translations:
            _add(measured, row.row, row.seed, {SIMILARITY[name]: of.similarity for name, of in row.metrics.items()})
        return measured

    def _is_prepared(self) -> bool:
        if not self.config.encode:
            return all((self.folder / f"{table}.parquet").is_file() for table in ("images", "captions"))
        try:
            store = EmbeddingStore(self.folder)
        except MissingStore:
            return False
        manifest, dataset, encoder = store.manifest, self.config.dataset, self.config.encoder
        names = ["model"] if "sha256" in manifest.encoder else ["model", "pretrained"]  # a file of weights may move
        self._compare(
            {f"encoder.{name}": manifest.encoder.get(name) for name in names},
            {f"encoder.{name}": encoder.get(name) for name in names},
        )
        splits = ("text_split", "image_mean_split")
        self._compare(
            {f"dataset.{name}": getattr(manifest, name) for name in splits},
            {f"dataset.{name}": dataset[name] and spelled(dataset[name]) for name in splits},
        )
        return store.manifest.text_splits is None and (not self.config.patches or store.manifest.patches is not None)

    def _is_painted(self) -> bool:
        if not (self.folder / PAINTED).is_file():
            return False
        there, painter = Provenance.read(self.folder).identity(), plain(self.config.painter)
        options = {f"painter.{name}": value for name, value in painter.items() if value is not None}
        now = {"seed": self.config.seed, "max_captions": self.config.max_captions, **options}
        self._compare(there, {option: value for option, value in now.items() if option in there})
        return True

    def _compare(self, there: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        for option, value in now.items():
            if there[option] != value:
                raise self._other(f"{option} was {there[option]!r} there and is {value!r} now")

    def _earlier_config(self) -> dict | None:
        """The config of the finished evaluation or comparison in its folder."""
        if self.name in COMPARISONS:
            path = self.folder / RESULTS
            return json.loads(path.read_text())["config"] if path.is_file() else None
        path = self.folder / "config.yaml"
        return plain(OmegaConf.load(path)) if path.is_file() and (self.folder / "scores.json").is_file() else None

    def _is_scored(self) -> bool:
        """Whether no metric is missing: those that could not run are tried again."""
        result = EvaluationResult.from_json(json.loads((self.folder / "scores.json").read_text()))
        return not result.unfinished and not result.unavailable

    def _other(self, difference: str) -> ValueError:
        return ValueError(
            f"{self.folder} holds a run of another configuration than {self.label} ({difference}): move it away, or "
            f"leave out what {self.name}=[...] changes"
        )


def plan_stages(
    table: PublishedTable, seeds: Sequence[int], overrides: Mapping[str, Sequence[str]]
) -> list[PlannedStage]:
    """The table's stages, each training and its evaluation once for each seed.

    Args:
        overrides: {stage: options after the table's}.

    Raises:
        ValueError: a stage has no such option, the table has no such stage, or it reports a metric unknown here.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds={list(seeds)} must name at least one, each once")
    names = [stage.stage for stage in table.stages]
    for stage, options in overrides.items():
        if options and stage not in names:
            raise ValueError(f"{stage}={list(options)}: table={table.name} has no such stage, only {', '.join(names)}")
        check_overrides(options, _set_here(stage))
    known = {*(metric for metrics in NAMES.values() for metric in metrics), *SIMILARITY.values()}
    if unknown := {metric for row in table.rows for metric in row.reported} - known:
        raise ValueError(
            f"table={table.name} reports {min(unknown)}, which is not measured here; known: {sorted(known)}"
        )
    planned: list[PlannedStage] = []
    trained = dict.fromkeys(seeds, "")
    for options in table.stages:
        chosen = [*options.options, *overrides.get(options.stage, ())]
        if options.stage in COMPARISONS:
            chosen.append(f"seeds=[{','.join(map(str, seeds))}]")
        if "seed" not in _set_here(options.stage):
            planned.append(PlannedStage(options, tuple(chosen), compose_config(options.stage, *chosen)))
            continue
        for seed in seeds:
            checkpoint = [override("checkpoint", trained[seed])] if options.stage == "eval_coco" else []
            arguments = (*chosen, f"seed={seed}", *checkpoint)
            config = _as_recorded(compose_config(options.stage, *arguments))
            if options.stage in CAPTIONERS:
                trained[seed] = config.output_dir
            planned.append(PlannedStage(options, arguments, config, seed))
    return planned


def _set_here(stage: str) -> tuple[str, ...]:
    """The options of a stage that the plan sets."""
    if stage in COMPARISONS:
        return ("seeds",)
    if stage == "eval_coco":
        return ("seed", "checkpoint")
    return ("seed",) if stage in TRAIN else ()


def _as_recorded(config: DictConfig) -> DictConfig:
    """The config as a run folder records it, changed in place: steps with their options."""
    if "prefix" in config:
        config.prefix = step_entries({"steps": config.prefix}, BASIC_STEPS)
    if "alignment" in config:
        expand_steps(config.alignment, STEPS)
    return config


def gather(
    table: PublishedTable, stages: Sequence[PlannedStage], seeds: Sequence[int]
) -> dict[str, dict[str, list[float | None]]]:
    """{row of the table: {metric: value for each seed}} of all stages that measure; one without rows of its own is the
    table's only row. A value is None where the metric could not run, and a metric without values is left out.
    A row that has no seed has its value for each.

    Raises:
        ValueError: a row was not measured.
    """
    measured: Measured = {}
    for stage in stages:
        for row, metrics in stage.measured().items():
            name = row or table.rows[0].name
            for metric, values in metrics.items():
                measured.setdefault(name, {}).setdefault(metric, {}).update(values)
    for row in table.rows:
        if row.name not in measured:
            raise ValueError(f"table={table.name} reports {row.name}, and its stages measured {', '.join(measured)}")
    listed = {
        row: {metric: [values.get(seed, values.get(None)) for seed in seeds] for metric, values in metrics.items()}
        for row, metrics in measured.items()
    }
    return {
        row: {metric: values for metric, values in metrics.items() if any(value is not None for value in values)}
        for row, metrics in listed.items()
    }


def _add(measured: Measured, row: str, seed: int | None, metrics: Mapping[str, Any]) -> None:
    for metric, value in metrics.items():
        measured.setdefault(row, {}).setdefault(metric, {})[seed] = value
