"""Which generators of pictures are compared, how each is trained, and how its pictures are scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from omegaconf import DictConfig

from alignment.options import expand_steps, step_entries
from alignment.steps import BASIC_STEPS
from common.paths import CONFIGS
from common.plain import plain
from comparison.methods import STAGE_OF_STEP
from comparison.stages import Stage, StageClock, with_seed
from comparison.trainings import (
    DATA,
    KINDS,
    TrainingStage,
    check_overrides,
    check_stage_experiment,
    experiment_override,
    stage_config,
)
from evaluation.pictures.comparison import GeneratorRow
from evaluation.pictures.result import GenerationResult
from image_captioning.alignments import STEPS
from image_generation.eval_generation import evaluate

LISTS = ("training", "ddpm", "evaluation")
KEYS = ("alignment", "of", *LISTS, "translation")
# The option with the overrides of a stage, and what the comparison sets in that stage.
OPTIONS = {
    "ddpm": "ddpm",
    "modality_translation": "translation",
    "image_generation": "training",
    "eval_generation": "evaluation",
}
SET_FOR_ALL = (*DATA, "seed", "output_dir", "store")
SET_HERE = {
    "ddpm": ("modality",),
    "modality_translation": ("image_store", "text_store"),
    "image_generation": ("alignment", "alignment.diffusion"),
    "eval_generation": ("alignment", "alignment.diffusion", "checkpoint", "prompts.seed", "translation"),
}


@dataclass(frozen=True)
class GeneratorMethod:
    """A row: how its generator is trained, and how captions become what that one reads.

    trained: the method whose generator draws, nearly always itself. alignment: a file in configs/alignment.
    training, ddpm, evaluation: overrides of the stages. translation: captions are translated, by a model trained on
        pairs.
    """

    name: str
    trained: str
    alignment: str
    training: tuple[str, ...] = ()
    ddpm: tuple[str, ...] = ()
    evaluation: tuple[str, ...] = ()
    translation: bool = False


def find_generators(names: Sequence[str], variants: Mapping[str, Mapping]) -> dict[str, GeneratorMethod]:
    """The methods, and those whose generators they draw with. Raises ValueError for unknown names and keys."""
    if not names or len(set(names)) < len(names):
        raise ValueError(f"methods={list(names)} must not be empty, nor name one twice")
    alignments = {path.stem for path in (CONFIGS / "alignment").glob("*.yaml")}
    methods: dict[str, GeneratorMethod] = {}

    def add(name: str) -> GeneratorMethod:
        options = dict(variants.get(name, {}))
        if unknown := set(options) - set(KEYS):
            raise ValueError(f"variants.{name} has unknown keys {sorted(unknown)}; known: {', '.join(KEYS)}")
        trained = options.pop("of", name)
        if trained != name and (options.get("training") or options.get("ddpm")):
            raise ValueError(
                f"variants.{name} draws with the generator of {trained}: training and ddpm are for that one"
            )
        default = name if name in alignments else methods[trained].alignment if trained in methods else trained
        lists = {key: tuple(options.get(key) or ()) for key in LISTS}
        is_translated = bool(options.get("translation"))
        return GeneratorMethod(name, trained, options.get("alignment", default), **lists, translation=is_translated)

    for name in names:
        leader = variants.get(name, {}).get("of", name)
        if variants.get(leader, {}).get("of"):
            raise ValueError(f"variants.{name}: of={leader} draws with another's generator itself: name that one")
        methods.setdefault(leader, add(leader))
        methods[name] = add(name)
        if methods[name].alignment not in alignments:
            known = ", ".join(sorted({*alignments, *variants}))
            raise ValueError(f"Unknown method {name!r} (alignment={methods[name].alignment}); known: {known}")
    return methods


@dataclass(frozen=True)
class GeneratorRuns:
    """The trainings and evaluations of `configs/compare_generators.yaml`."""

    config: DictConfig
    methods: Mapping[str, GeneratorMethod]

    def trainings(self, method: GeneratorMethod, seed: int) -> list[TrainingStage]:
        """What is trained for a method, in order: diffusion model, translation, and the generator that draws."""
        leader = self.methods[method.trained]
        generator = self._generator(leader, seed)
        entries = [*generator.alignment.steps, *self._alignment(method, leader, seed)["steps"]]
        needed = {STAGE_OF_STEP.get(entry["step"]) for entry in entries}
        stages = []
        if "ddpm" in needed:
            config = self._stage(
                "ddpm", seed, self._diffusion(leader, seed), ("modality=images", *self.config.ddpm, *leader.ddpm)
            )
            config.prefix = step_entries({"steps": config.prefix}, BASIC_STEPS)  # as a run folder records it
            stages.append(TrainingStage("ddpm", "training the diffusion model", config))
        if method.translation:
            config = self._stage("modality_translation", seed, self._translation(seed), self.config.translation)
            config.image_store = config.text_store = str(self.config.store)
            stages.append(TrainingStage("modality_translation", "training the translation", config))
        return [*stages, TrainingStage("image_generation", f"training {leader.name}", generator)]

    def evaluation(self, method: GeneratorMethod, seed: int, evaluation_seed: int) -> DictConfig:
        """The config of an evaluation of the method's pictures."""
        leader = self.methods[method.trained]
        chosen = [f"alignment={method.alignment}"] if method.alignment != leader.alignment else []
        folder = f"{self.config.runs_dir}/eval_generation/{self.config.name}_{method.name}_seed{seed}_{evaluation_seed}"
        config = self._stage(
            "eval_generation", evaluation_seed, folder, [*chosen, *self.config.evaluation, *method.evaluation]
        )
        config.checkpoint = self._folder("image_generation", leader.name, seed)
        config.prompts.seed = evaluation_seed
        if chosen:
            self._place(config.alignment, leader, seed)
        if method.translation:
            config.translation = self._translation(seed)
        return config

    def check(self) -> None:
        """Refuse what would fail only after hours. Raises ValueError."""
        for option in ("seeds", "evaluation_seeds"):
            seeds = list(self.config[option])
            if not seeds or len(set(seeds)) < len(seeds):
                raise ValueError(f"{option}={seeds} must not be empty, nor name one twice")
        check_stage_experiment(self.config.stage_experiment, SET_HERE)
        for stage, set_here in SET_HERE.items():
            option = OPTIONS[stage]
            of_methods = (getattr(method, option) for method in self.methods.values() if option in LISTS)
            check_overrides(chain(self.config[option], *of_methods), (*SET_FOR_ALL, *set_here))
        for name in self.config.methods:
            for seed in self.config.seeds:
                self.evaluation(self.methods[name], seed, 0)
                for training in self.trainings(self.methods[name], seed):
                    if difference := training.difference():
                        raise ValueError(
                            f"{training.folder} holds a run of another configuration ({difference}): give these runs "
                            "folders of their own (option name or runs_dir), or delete that one"
                        )

    def plan(self) -> list[Stage]:
        """What `run` will do. The seconds are those of two CPU cores; what is done already takes none."""
        stages, planned = [], set()
        for seed in self.config.seeds:
            for method in map(self.methods.__getitem__, self.config.methods):
                for training in self.trainings(method, seed):
                    if training.folder not in planned:
                        planned.add(training.folder)
                        kind, seconds = KINDS[training.name]
                        label = with_seed(training.label, seed, self.config.seeds)
                        stages.append(Stage(label, kind, 0 if training.is_finished else seconds))
                for evaluation_seed in self.config.evaluation_seeds:
                    done = (Path(self.evaluation(method, seed, evaluation_seed).output_dir) / "scores.json").exists()
                    label = with_seed(f"drawing with {method.name}", seed, self.config.seeds)
                    stages.append(Stage(label, "drawing", 0 if done else 120))
        return stages

    def run(self) -> Iterator[tuple[GeneratorRow, GenerationResult]]:
        """Train and evaluate, seed by seed; what is finished is reused."""
        clock, trained = StageClock(self.plan()), set()
        for seed in self.config.seeds:
            for method in map(self.methods.__getitem__, self.config.methods):
                trainings = self.trainings(method, seed)
                for training in trainings:
                    if training.folder not in trained:
                        with clock.stage(with_seed(training.label, seed, self.config.seeds)):
                            training.train()
                        trained.add(training.folder)
                for evaluation_seed in self.config.evaluation_seeds:
                    evaluation = self.evaluation(method, seed, evaluation_seed)
                    with clock.stage(with_seed(f"drawing with {method.name}", seed, self.config.seeds)):
                        result = evaluate(evaluation)
                    yield _row(method, seed, evaluation_seed, trainings, evaluation, result), result

    def _generator(self, method: GeneratorMethod, seed: int) -> DictConfig:
        overrides = (f"alignment={method.alignment}", *self.config.training, *method.training)
        config = self._stage("image_generation", seed, self._folder("image_generation", method.name, seed), overrides)
        self._place(config.alignment, method, seed)
        expand_steps(config.alignment, STEPS)
        return config

    def _alignment(self, method: GeneratorMethod, leader: GeneratorMethod, seed: int) -> dict:
        config = stage_config("image_generation", [f"alignment={method.alignment}"], {})
        self._place(config.alignment, leader, seed)
        expand_steps(config.alignment, STEPS)
        return plain(config.alignment)

    def _place(self, alignment: DictConfig, leader: GeneratorMethod, seed: int) -> None:
        if "diffusion" in alignment:
            alignment.diffusion = self._diffusion(leader, seed)

    def _stage(self, stage: str, seed: int, folder: str, overrides: Sequence[str]) -> DictConfig:
        values = {key: self.config[key] for key in ("dataset", "encoder")}
        experiment = experiment_override(stage, self.config.stage_experiment, values)
        values |= {"seed": seed, "output_dir": folder}
        config = stage_config(stage, [*experiment, *overrides], values)
        if "store" in config:
            config.store = str(self.config.store)
        return config

    def _folder(self, stage: str, name: str, seed: int) -> str:
        return f"{self.config.runs_dir}/{stage}/{self.config.name}_{name}_seed{seed}"

    def _diffusion(self, leader: GeneratorMethod, seed: int) -> str:
        """Methods share a diffusion model; overrides of it make another, whose name they decide."""
        digest = hashlib.sha256(json.dumps(leader.ddpm).encode()).hexdigest()[:8]
        return self._folder("ddpm", f"images_{digest}" if leader.ddpm else "images", seed)

    def _translation(self, seed: int) -> str:
        return self._folder("modality_translation", "ced", seed)


def _row(
    method: GeneratorMethod, seed: int, evaluation_seed: int, trainings: Sequence[TrainingStage], config: DictConfig,
    result: GenerationResult,
) -> GeneratorRow:  # fmt: skip
    return GeneratorRow(
        method=method.name,
        trained_as=method.trained,
        seed=seed,
        evaluation_seed=evaluation_seed,
        uses_pairs=bool(result.generation.get("uses_pairs", True)),
        evaluation=config.output_dir,
        training_seconds=sum(training.summary()["seconds"] for training in trainings),
        metrics=result.metrics,
    )
