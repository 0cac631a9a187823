"""The trainings and evaluations of several methods, of which scripts make tables and reports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from omegaconf import DictConfig

from alignment.auto_noise import EstimateOptions
from alignment.chain import Alignment
from alignment.options import expand_steps, step_entries, training_side
from alignment.steps import BASIC_STEPS
from common.plain import plain
from comparison.method_facts import memory_bytes, trained_parameters
from comparison.methods import Method
from comparison.stages import Stage, StageClock, with_seed
from comparison.trainings import DATA, KINDS, TrainingStage, check_overrides, stage_config
from embedding_space.store import EmbeddingStore
from evaluation.captions.scoring_options import Scoring
from evaluation.reports.comparison_tables import ORACLES
from evaluation.reports.method_result import MethodResult
from image_captioning.alignments import STEPS
from image_captioning.evaluate import evaluate_captioner
from image_captioning.generation import Decoding
from image_captioning.inference_inputs import InferenceInputs
from image_captioning.method_class import method_class, searches_captions
from pcm_net.load import load_captioner
from training.run_folder import NOT_PART_OF_THE_RUN

SET_HERE = (*DATA, "alignment", "alignment.diffusion", "seed", "store", "output_dir", "train_on", "corpus_captions")


@dataclass(frozen=True)
class MethodRuns:
    """The trainings and evaluations of some methods, in folders of their own below `runs_dir`.

    name: what run folders begin with. store: of training, and of evaluation unless there is a `test_store`, where
        `image_mean_from` says whose image mean is subtracted (`InferenceInputs`).
    tried: further methods, whose finished trainings are taken where they are the same.
    corpus_captions: how many captions of the store there are to train on; None for all.
    decodings: {name: Decoding}. ending: of evaluation folders' names, with {split} and {decoding}.
    overrides: {stage: overrides}. groups: config groups that take the place of the stages' own.
    """

    name: str
    runs_dir: str
    store: Path
    methods: Sequence[Method]
    decodings: Mapping[str, Decoding]
    split: str
    scoring: Scoring
    overrides: Mapping[str, Sequence[str]] = field(default_factory=dict)
    groups: Mapping[str, Mapping] = field(default_factory=dict)
    ending: str = "{split}_{decoding}"
    test_store: Path | None = None
    image_mean_from: str = "checkpoint"
    corpus_captions: int | None = None
    tried: Sequence[Method] = ()

    def check(self, seeds: Sequence[int]) -> None:
        """Refuse what would fail only after hours: unknown options, folders that hold other runs. Raises ValueError."""
        if not seeds or len(set(seeds)) != len(seeds) or not all(isinstance(seed, int) for seed in seeds):
            raise ValueError(f"seeds={list(seeds)} must be whole numbers, each once, and must not be empty")
        if any(method.captioner == "pcm_net" for method in self.methods):
            store = EmbeddingStore(self.store)
            store.patch_features(store.text_split)
        for method in self.methods:
            overrides = [*self.overrides.values(), *method.overrides.values()]
            check_overrides((text for texts in overrides for text in texts), SET_HERE)
            for stage in (stage for seed in seeds for stage in self.trainings(method, seed)):
                if difference := stage.difference():
                    raise ValueError(
                        f"{stage.folder} holds a run of another configuration ({difference}): give these runs "
                        "folders of their own (option name or runs_dir), or delete that one"
                    )

    def trainings(self, method: Method, seed: int) -> list[TrainingStage]:
        """What is trained for a method, in order; its captioner may be that of another one (`trained_as`)."""
        stages = self.trainings(method.teacher, seed) if method.teacher else []
        for stage in method.stages(self._steps(method, seed)):
            if stage == "ddpm" and method.teacher:
                continue  # it is the teacher's
            if stage == "ddpm":
                stages.append(TrainingStage(stage, "training the diffusion model", self._ddpm_config(method, seed)))
            else:
                config = self._captioner_config(self.trained_as(method, seed), seed)
                stages.append(TrainingStage(stage, f"training {method.name}", config))
        return stages

    def text_splits(self, text_split: str, seed: int) -> list[str]:
        """The splits whose text embeddings the methods read: `text_split`, that of the evaluation, and those of
        validations and of estimates from pairs.

        Whatever trains on image-text pairs reads the images' embeddings and the captions as words.
        """
        splits = {text_split, self.split}
        for training in (training for method in self.methods for training in self.trainings(method, seed)):
            splits.add(training.config.validation_split or text_split)
        for entry in (entry for method in self.methods for entry in self._steps(method, seed)):
            if entry.get("estimate") and (estimate := EstimateOptions(**entry["estimate"])).data == "pairs":
                splits.add(estimate.split)
            if entry.get("covariance") == "pairs":
                splits.add(entry.get("covariance_split", "val"))
        return sorted(splits)

    def plan(self, seeds: Sequence[int]) -> list[Stage]:
        """What `run` will do. The seconds are those of the demo on two CPU cores; what is done already takes none."""
        stages, planned = [], set()
        for seed in seeds:
            for method in self.methods:
                for training in self.trainings(method, seed):
                    if training.folder not in planned:
                        planned.add(training.folder)
                        kind, seconds = KINDS[training.name]
                        seconds = 0 if training.is_finished else seconds
                        stages.append(Stage(with_seed(training.label, seed, seeds), kind, seconds))
                seconds = 20.0 * len(self.decodings)
                stages.append(Stage(with_seed(f"captioning with {method.name}", seed, seeds), "captioning", seconds))
        return stages

    def run(self, seeds: Sequence[int], clock: StageClock | None = None) -> Iterator[MethodResult]:
        """Train and evaluate, seed by seed: the result of each evaluation. What is finished is reused.

        clock: of a longer plan that `plan(seeds)` is the next part of.
        """
        clock, trained = clock or StageClock(self.plan(seeds)), set()
        for seed in seeds:
            for method in self.methods:
                trainings = self.trainings(method, seed)
                for training in trainings:
                    if training.folder not in trained:
                        with clock.stage(with_seed(training.label, seed, seeds)):
                            training.train()
                        trained.add(training.folder)
                with clock.stage(with_seed(f"captioning with {method.name}", seed, seeds)):
                    results = list(self._evaluate(method, seed, trainings))
                ciders = {run.decoding_name: "none" if run.cider is None else f"{run.cider:.1f}" for run in results}
                shown = ", ".join(f"{cider} ({name})" for name, cider in ciders.items())
                print(f"    {method.name}: CIDEr {shown}", flush=True)
                yield from results

    def _evaluate(self, method: Method, seed: int, trainings: Sequence[TrainingStage]) -> Iterator[MethodResult]:
        leader, summaries = self.trained_as(method, seed), [training.summary() for training in trainings]
        captioner = load_captioner(trainings[-1].folder)
        store = EmbeddingStore(self.store, self.corpus_captions)
        alignment = None
        if (steps := self._steps(method, seed)) != self._steps(leader, seed):  # another inference side
            alignment = Alignment.from_store(steps, STEPS, store)
        inputs = InferenceInputs(
            EmbeddingStore(self.test_store) if self.test_store else store,
            self.split,
            caption_from=method.caption_from,
            alignment=alignment,
            image_mean_from=self.image_mean_from if self.test_store else "checkpoint",
            precision="auto",
        )
        chain = alignment or captioner.alignment
        reads = (method.caption_from, method.selected, store.manifest.medium)
        for label, decoding in self.decodings.items():
            folder = self.evaluation_dir(method, seed, label)
            read = inputs
            if self.test_store and decoding.consensus_weight:  # the captions near an image are those of the training
                read = replace(inputs, training_store=self.store)
            result = evaluate_captioner(captioner, read, folder, decoding, self.scoring, existing="reuse")
            captioning_seconds = (result.seconds and result.seconds.captioning) or 0.0
            yield MethodResult(
                result=result,
                method=method.name,
                seed=seed,
                decoding_name=label,
                evaluation=folder,
                total_seconds=sum(summary["seconds"] for summary in summaries) + captioning_seconds,
                alignment=method.alignment,
                trained_as=leader.name,
                training_device=summaries[-1].get("device"),  # runs of earlier versions did not say
                trained_parameters=trained_parameters(_of_its_weights(method, summaries)),
                memory_bytes=memory_bytes(captioner, chain),
                method_class=method_class(chain, captioner.provenance, *reads),
                encoder_name=(chain.inference_encoder or captioner.encoder_description).get("name"),
            )

    def trained_as(self, method: Method, seed: int) -> Method:
        """The method in whose folder `method`'s captioner is trained: one that differs at inference alone, or itself.

        A training of its own that is there already is kept; else a finished one of the others is taken, else the
        first's.
        """
        key = self._training_key(method, seed)
        others = (*self.methods, *self.tried)
        alike = [other for other in others if other.trained == other.name and other.teacher == method.teacher]
        alike = [other for other in alike if self._training_key(other, seed) == key] or [method]
        configs = {other.name: self._captioner_config(other, seed) for other in alike}
        done = [o for o in alike if TrainingStage(o.captioner, "", configs[o.name]).is_reusable]
        return method if method in done else (done or alike)[0]

    def _training_key(self, method: Method, seed: int) -> str:
        """What decides how a captioner is trained: equal for methods that differ at inference alone."""
        config = self._nameless_config(method, seed)
        steps = config.pop("alignment")["steps"]
        read = {config.get("train_on"), config.get("validate_on")}
        if not read & {"pairs", "images"}:  # images are read by the other side
            steps = training_side(steps, STEPS)
        return json.dumps([method.captioner, steps, config], sort_keys=True)

    def settings(self, method: Method, seed: int) -> str:
        """All that a method's configuration decides, but for names: equal for two that are the same."""
        config = self._nameless_config(method, seed)
        return json.dumps([method.captioner, config.pop("alignment")["steps"], config], sort_keys=True)

    def _nameless_config(self, method: Method, seed: int) -> dict:
        config = plain(self._captioner_config(method, seed))
        for key in (*NOT_PART_OF_THE_RUN, "name", "method"):
            config.pop(key, None)
        return config

    def captioner_dir(self, method: Method, seed: int) -> str:
        """The run folder of the captioner that `method` captions with."""
        return self._own_dir(self.trained_as(method, seed), seed)

    def _own_dir(self, method: Method, seed: int) -> str:
        return f"{self.runs_dir}/{method.captioner}/{self.name}_{method.trained}_seed{seed}"

    def diffusion_dir(self, method: Method, seed: int) -> str:
        return f"{self.runs_dir}/ddpm/{'_'.join(filter(None, (self.name, method.diffusion, f'seed{seed}')))}"

    def evaluation_dir(self, method: Method, seed: int, decoding: str) -> str:
        ending = self.ending.format(split=self.split, decoding=decoding)
        return f"{self.runs_dir}/evaluation/{self.name}_{method.name}_seed{seed}_{ending}"

    def _steps(self, method: Method, seed: int) -> list[dict]:
        return plain(self._captioner_config(method, seed).alignment)["steps"]

    def _ddpm_config(self, method: Method, seed: int) -> DictConfig:
        config = self._config("ddpm", method, seed, self.diffusion_dir(method, seed))
        config.prefix = step_entries({"steps": config.prefix}, BASIC_STEPS)  # as a run folder records it
        return config

    def _captioner_config(self, method: Method, seed: int) -> DictConfig:
        train_on = "synthetic" if method.captioner == "pcm_net" else method.train_on
        chosen = [f"alignment={method.alignment}", f"train_on={train_on}"]
        asked = (*self.overrides.get(method.captioner, ()), *method.overrides_of(method.captioner))
        if method.teacher and not any(text.startswith("decoding@teacher=") for text in asked):
            chosen.append("decoding@teacher=consensus")
        config = self._config(method.captioner, method, seed, self._own_dir(method, seed), chosen)
        if method.teacher:
            config.init_from = self.captioner_dir(method.teacher, seed)
        if "diffusion" in config.alignment:
            config.alignment.diffusion = self.diffusion_dir(method, seed)
        expand_steps(config.alignment, STEPS)
        return config

    def _config(self, stage: str, method: Method, seed: int, output_dir: str, chosen: Sequence[str] = ()) -> DictConfig:
        overrides = (*chosen, *self.overrides.get(stage, ()), *method.overrides_of(stage))
        values = {
            "seed": seed,
            "store": str(self.store),
            "corpus_captions": self.corpus_captions,
            "output_dir": output_dir,
            **self.groups,
        }
        return stage_config(stage, overrides, values)


def _of_its_weights(method: Method, summaries: list[dict]) -> list[dict]:
    """The trainings without those of teachers' captioners, for the weights are the same."""
    count = 0
    while (teacher := method.teacher) is not None:
        method, count = teacher, count + 1
    return [*summaries[: len(summaries) - count - 1], summaries[-1]]


def self_trained(runs: Sequence[MethodResult]) -> list[str]:
    """A sentence for each method that learned from captions which a captioner wrote of unpaired images."""
    taught = {
        run.method: run.result.provenance["self_training"] for run in runs if run.result.provenance.get("self_training")
    }
    return [
        f"{method} goes on from a trained captioner, with captions that this one wrote of {its['images']:,} unpaired "
        f"images of the split {its['split']}."
        for method, its in taught.items()
    ]


def shared_trainings(runs: Sequence[MethodResult]) -> list[str]:
    """A sentence for each method whose captioner another one's training made."""
    methods = {run.method for run in runs}  # a training of a try is the method's own
    shared = {run.method: run.trained_as for run in runs if run.trained_as in methods - {run.method}}
    return [
        f"{method} captions with the decoder of {trained_as}: both do the same to texts, so one training serves both."
        for method, trained_as in shared.items()
        if method not in ORACLES
    ]


def learned_from_images(runs: Sequence[MethodResult]) -> list[str]:
    """A sentence for each class of images that captioners learned from; those of text alone need none."""
    classes: dict[str, list[str]] = {}
    for run in runs:
        images = run.result.provenance.get("images")
        if images and run.method not in classes.setdefault(images, []):
            classes[images].append(run.method)
    return [f"Trained on {images}: {', '.join(methods)}." for images, methods in classes.items()]


def search_captions(runs: Sequence[MethodResult]) -> list[str]:
    """A sentence on the methods whose prefix parts read training captions at inference, if there are any."""
    searching = list(dict.fromkeys(run.method for run in runs if searches_captions(run.result.provenance)))
    return [f"Search the training captions at inference, too: {', '.join(searching)}."] if searching else []
