"""The trainings and evaluations of several methods, of which scripts make tables and reports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from alignment.chain import Alignment
from alignment.options import expand_steps, step_entries, training_side
from alignment.steps import BASIC_STEPS
from common.config import compose_config
from common.paths import CONFIGS
from common.stages import Stage, StageClock
from ddpm.training_run import train as train_ddpm
from embedding_space.store import EmbeddingStore
from evaluation.reports.comparison_tables import ORACLES
from image_captioning.alignments import STEPS
from image_captioning.captioner import Captioner
from image_captioning.evaluate import check_metrics, evaluate_captioner
from image_captioning.generation import Decoding
from image_captioning.training_run import train as train_captioner
from training.run_folder import FINISHED, NOT_PART_OF_THE_RUN, difference_from

VARIANT_KEYS = ("alignment", "captioner", "ddpm")
OWN_OPTIONS = ("alignment", "dataset", "encoder", "seed", "store", "output_dir", "train_on")


@dataclass(frozen=True)
class Method:
    """A row of the table: how its captioner is trained, and what that captions from.

    alignment: a config in configs/alignment. captioner, ddpm: its own overrides of the stages.
    trained: the method whose captioner it evaluates, nearly always itself.
    diffusion: what its diffusion model's folder is named by; "" for the one that methods share.
    """

    name: str
    alignment: str
    trained: str
    captioner: tuple[str, ...] = ()
    ddpm: tuple[str, ...] = ()
    diffusion: str = ""
    train_on: str = "text"
    caption_from: str = "images"


def find_methods(names: Sequence[str], oracles: Sequence[str], variants: Mapping | None = None) -> list[Method]:
    """The rows that `methods`, `oracles` and `variants` ask for. Raises ValueError for an unknown name or key."""
    variants = {name: _variant(name, options) for name, options in (variants or {}).items()}
    if not names:
        raise ValueError(f"methods={list(names)} must not be empty")
    for option, given in (("methods", names), ("oracles", oracles)):
        if len(set(given)) != len(given):
            raise ValueError(f"{option}={list(given)} names one of them twice")
    if unknown := set(oracles) - set(ORACLES):
        raise ValueError(f"oracles={sorted(unknown)} are unknown; known: {', '.join(ORACLES)}")
    if "oracle_text" in oracles and "c2_collapse" not in names:
        raise ValueError("oracle_text reads with the collapse decoder: add c2_collapse to methods")
    known = {path.stem for path in (CONFIGS / "alignment").glob("*.yaml")}
    methods = []
    for name in names:
        own = variants.get(name, {"alignment": name, "captioner": (), "ddpm": ()})
        if own["alignment"] not in known or name in ORACLES:
            all_known = ", ".join(sorted({*known, *variants}))
            raise ValueError(f"Unknown method {name!r} (alignment={own['alignment']}); known: {all_known}")
        # Variants with equal overrides share a diffusion model, named by the first of them.
        diffusion = next((other for other in variants if own["ddpm"] and variants[other]["ddpm"] == own["ddpm"]), "")
        methods.append(Method(name, own["alignment"], name, own["captioner"], own["ddpm"], diffusion))
    collapse = variants.get("c2_collapse", {"alignment": "c2_collapse", "captioner": ()})
    reads_pairs = Method("oracle_pairs", collapse["alignment"], "oracle_pairs", collapse["captioner"], train_on="pairs")
    reads_text = replace(reads_pairs, name="oracle_text", trained="c2_collapse", train_on="text", caption_from="texts")
    return methods + [reads_pairs if name == "oracle_pairs" else reads_text for name in oracles]


def _variant(name: str, options: Mapping) -> dict:
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"variants.{name}: the name of a run folder may hold letters, digits and _ . - only")
    if unknown := set(options) - set(VARIANT_KEYS):
        raise ValueError(f"variants.{name} has unknown keys {sorted(unknown)}; known: {', '.join(VARIANT_KEYS)}")
    overrides = {stage: tuple(options.get(stage) or ()) for stage in ("captioner", "ddpm")}
    return {"alignment": options.get("alignment") or name, **overrides}


@dataclass(frozen=True)
class MethodRuns:
    """The trainings and evaluations of some methods, in folders of their own below `runs_dir`.

    name: what run folders begin with. store: of training, and of evaluation unless there is a `test_store`, where
        `image_mean_from` says whose image mean is subtracted (`evaluate_captioner`).
    decodings: {name: Decoding}. ending: of evaluation folders' names, with {split} and {decoding}.
    ddpm, captioner: overrides of the two stages. groups: config groups that take the place of the stages' own.
    """

    name: str
    runs_dir: str
    store: Path
    methods: Sequence[Method]
    decodings: Mapping[str, Decoding]
    split: str
    metrics: Sequence[str]
    cache_dir: str
    ddpm: Sequence[str] = ()
    captioner: Sequence[str] = ()
    groups: Mapping[str, Mapping] | None = None
    ending: str = "{split}_{decoding}"
    test_store: Path | None = None
    image_mean_from: str = "checkpoint"

    def check(self, seeds: Sequence[int]) -> None:
        """Refuse what would fail only after hours: unknown options, folders that hold other runs. Raises ValueError."""
        if not seeds or len(set(seeds)) != len(seeds) or not all(isinstance(seed, int) for seed in seeds):
            raise ValueError(f"seeds={list(seeds)} must be whole numbers, each once, and must not be empty")
        check_metrics(self.metrics)
        for method in self.methods:
            for text in (*self.captioner, *self.ddpm, *method.captioner, *method.ddpm):
                key = text.lstrip("+~").partition("=")[0]
                if key in OWN_OPTIONS or key.split(".")[0] in ("dataset", "encoder"):
                    raise ValueError(f"{text} stands in overrides of a stage, but {key} is for the comparison to set")
            for seed in seeds:
                configs = [self._captioner_config(self.trained_as(method, seed), seed)]
                if _has_bridge(self._captioner_config(method, seed)):
                    configs.append(self._ddpm_config(method, seed))
                elif method.ddpm:
                    raise ValueError(
                        f"variants.{method.name} has ddpm overrides, but its alignment has no DiffusionBridge"
                    )
                for config in configs:
                    if not config.overwrite and (difference := difference_from(config.output_dir, config)):
                        raise ValueError(
                            f"{config.output_dir} holds a run of another configuration ({difference}): give these runs "
                            "folders of their own (option name or runs_dir), or delete that one"
                        )

    def plan(self, seeds: Sequence[int]) -> list[Stage]:
        """What `run` will do. The seconds are those of the demo on two CPU cores; what is done already takes none."""
        stages, planned = [], set()
        for seed in seeds:
            for method in self.methods:
                trainings = {f"training {method.name}": ("training", 90, self.captioner_dir(method, seed))}
                if _has_bridge(self._captioner_config(method, seed)):
                    diffusion = {"training the diffusion model": ("ddpm", 30, self.diffusion_dir(method, seed))}
                    trainings = diffusion | trainings
                for label, (kind, seconds, folder) in trainings.items():
                    if folder not in planned:
                        planned.add(folder)
                        done = (Path(folder) / FINISHED).exists()
                        stages.append(Stage(_with_seed(label, seed, seeds), kind, 0 if done else seconds))
                seconds = 20.0 * len(self.decodings)
                stages.append(Stage(_with_seed(f"captioning with {method.name}", seed, seeds), "captioning", seconds))
        return stages

    def run(self, seeds: Sequence[int], clock: StageClock | None = None) -> Iterator[dict]:
        """Train and evaluate, seed by seed: the figures of each evaluation. What is finished is re-used.

        clock: of a longer plan that `plan(seeds)` is the next part of.
        """
        clock, trained = clock or StageClock(self.plan(seeds)), set()
        for seed in seeds:
            for method in self.methods:
                if _has_bridge(self._captioner_config(method, seed)):
                    folder = self.diffusion_dir(method, seed)
                    if folder not in trained:
                        with clock.stage(_with_seed("training the diffusion model", seed, seeds)):
                            train_ddpm(self._ddpm_config(method, seed))
                        trained.add(folder)
                leader = self.trained_as(method, seed)
                if (folder := self.captioner_dir(method, seed)) not in trained:
                    with clock.stage(_with_seed(f"training {method.name}", seed, seeds)):
                        train_captioner(self._captioner_config(leader, seed))
                    trained.add(folder)
                with clock.stage(_with_seed(f"captioning with {method.name}", seed, seeds)):
                    runs = list(self._evaluate(method, leader, seed))
                ciders = {run["decoding_name"]: run["metrics"].get("CIDEr") for run in runs}
                shown = ", ".join(f"{'none' if c is None else f'{c:.1f}'} ({name})" for name, c in ciders.items())
                print(f"    {method.name}: CIDEr {shown}", flush=True)
                yield from runs

    def _evaluate(self, method: Method, leader: Method, seed: int) -> Iterator[dict]:
        config = self._captioner_config(method, seed)
        finished = _finished(self.captioner_dir(method, seed))
        training_seconds = finished["seconds"]
        if _has_bridge(config):
            training_seconds += _finished(self.diffusion_dir(method, seed))["seconds"]
        captioner = Captioner.load(self.captioner_dir(method, seed))
        alignment = None
        if (steps := _steps(config)) != _steps(self._captioner_config(leader, seed)):  # another image side
            alignment = Alignment.from_store(steps, STEPS, EmbeddingStore(self.store))
        store = EmbeddingStore(self.test_store or self.store)
        elsewhere = {"image_mean_from": self.image_mean_from} if self.test_store else {}
        for label, decoding in self.decodings.items():
            folder = self.evaluation_dir(method, seed, label)
            figures = evaluate_captioner(
                captioner,
                store,
                self.split,
                folder,
                decoding=decoding,
                metrics=tuple(self.metrics),
                caption_from=method.caption_from,
                cache_dir=self.cache_dir,
                earlier="renew",
                precision="auto",
                alignment=alignment,
                **elsewhere,
            )
            seconds = training_seconds + figures["seconds"]["captioning"]
            row = {"method": method.name, "seed": seed, "decoding_name": label, "evaluation": folder}
            yield {
                **row,
                "total_seconds": seconds,
                **figures,
                "alignment": method.alignment,
                "trained_as": leader.name,
                "training_device": finished.get("device"),  # runs of earlier versions did not say
            }

    def trained_as(self, method: Method, seed: int) -> Method:
        """The method in whose folder `method`'s captioner is trained: one that differs at inference alone, or itself.

        A training of its own that is there already is kept; else a finished one of the others is taken, else the
        first's.
        """
        key = self._training_key(method, seed)
        alike = [other for other in self.methods if other.trained == other.name]
        alike = [other for other in alike if self._training_key(other, seed) == key] or [method]
        done = [other for other in alike if self._is_trained(other, seed)]
        return method if method in done else (done or alike)[0]

    def _training_key(self, method: Method, seed: int) -> str:
        """What decides how a captioner is trained: equal for methods that differ at inference alone."""
        config = OmegaConf.to_container(self._captioner_config(method, seed), resolve=True)
        steps = training_side(config.pop("alignment")["steps"], STEPS)
        for key in (*NOT_PART_OF_THE_RUN, "name", "method"):
            config.pop(key, None)
        return json.dumps([steps, config], sort_keys=True)

    def _is_trained(self, method: Method, seed: int) -> bool:
        config = self._captioner_config(method, seed)
        done = (Path(config.output_dir) / FINISHED).exists()
        return done and not config.overwrite and difference_from(config.output_dir, config) is None

    def captioner_dir(self, method: Method, seed: int) -> str:
        """The run folder of the captioner that `method` captions with."""
        return self._own_dir(self.trained_as(method, seed), seed)

    def _own_dir(self, method: Method, seed: int) -> str:
        return f"{self.runs_dir}/image_captioning/{self.name}_{method.trained}_seed{seed}"

    def diffusion_dir(self, method: Method, seed: int) -> str:
        return f"{self.runs_dir}/ddpm/{'_'.join(filter(None, (self.name, method.diffusion, f'seed{seed}')))}"

    def evaluation_dir(self, method: Method, seed: int, decoding: str) -> str:
        ending = self.ending.format(split=self.split, decoding=decoding)
        return f"{self.runs_dir}/evaluation/{self.name}_{method.name}_seed{seed}_{ending}"

    def _ddpm_config(self, method: Method, seed: int) -> DictConfig:
        config = self._config("ddpm", self.diffusion_dir(method, seed), seed, (*self.ddpm, *method.ddpm))
        config.prefix = step_entries({"steps": config.prefix}, BASIC_STEPS)  # as a run folder records it
        return config

    def _captioner_config(self, method: Method, seed: int) -> DictConfig:
        overrides = (f"alignment={method.alignment}", f"train_on={method.train_on}", *self.captioner, *method.captioner)
        config = self._config("image_captioning", self._own_dir(method, seed), seed, overrides)
        if "diffusion" in config.alignment:
            config.alignment.diffusion = self.diffusion_dir(method, seed)
        expand_steps(config.alignment, STEPS)
        return config

    def _config(self, stage: str, output_dir: str, seed: int, overrides: Sequence[str]) -> DictConfig:
        config = deepcopy(_composed(stage, tuple(overrides)))
        own = {"seed": seed, "store": str(self.store), "output_dir": output_dir}
        for key, value in {**own, **(self.groups or {})}.items():
            config[key] = value
        return config


# Composing takes a third of a second, and only the seed and the folders differ between the runs of a method.
@cache
def _composed(stage: str, overrides: tuple[str, ...]) -> DictConfig:
    return compose_config(stage, *overrides)


def shared_trainings(runs: Sequence[Mapping]) -> list[str]:
    """A sentence for each method whose captioner another one's training made."""
    shared = {run["method"]: run["trained_as"] for run in runs if run["trained_as"] != run["method"]}
    return [
        f"{method} captions with the decoder of {trained_as}: both do the same to texts, so one training serves both."
        for method, trained_as in shared.items()
        if method not in ORACLES
    ]


def _with_seed(label: str, seed: int, seeds: Sequence[int]) -> str:
    return f"seed {seed}: {label}" if len(seeds) > 1 else label


def _steps(captioner_config: DictConfig) -> list[dict]:
    return OmegaConf.to_container(captioner_config.alignment, resolve=True)["steps"]


def _has_bridge(captioner_config: DictConfig) -> bool:
    return any(step.step == "DiffusionBridge" for step in captioner_config.alignment.steps)


def _finished(run_folder: str) -> dict:
    return json.loads((Path(run_folder) / FINISHED).read_text())
