"""The same tuning for all methods: tries of each are scored on another split, and the best one's settings are used."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from omegaconf import DictConfig

from common.config import compose_config
from common.plain import plain
from comparison.earlier_tries import earlier_tries
from comparison.methods import COLLAPSE, Method
from comparison.runs import MethodRuns
from embedding_space.store import EmbeddingStore
from evaluation.captions.scoring_options import split_references
from evaluation.reports.comparison_tables import ORACLES
from evaluation.reports.method_result import MethodResult
from evaluation.reports.tries import TryResult
from image_captioning.generation import Decoding


@dataclass(frozen=True)
class Tuning:
    """The tries of some methods.

    tries: {method: its tries, each a variant of the method with overrides of its captioner's training}.
    overrides: {try: its overrides}. runs: of all tries, on the split that chooses. seed: of all tries.
    reported: the split that is reported. made: {try: what it came to in an earlier comparison}, not made again.
    """

    tries: Mapping[str, Sequence[Method]]
    overrides: Mapping[str, Sequence[str]]
    runs: MethodRuns
    seed: int
    reported: str
    made: Mapping[str, TryResult] = field(default_factory=dict)

    @property
    def variants(self) -> list[Method]:
        """All tries, whether they are made here or were made before."""
        return [variant for variants in self.tries.values() for variant in variants]

    @classmethod
    def of(cls, config: DictConfig, method_runs: MethodRuns, tried_elsewhere: Collection[str] = ()) -> Tuning:
        """The tuning that `configs/compare_methods.yaml` describes.

        Args:
            tried_elsewhere: methods that are not trained here; their tries are left out.

        Raises:
            ValueError: an unknown method, no list of lists of overrides, a list of splits or one with images of the
                split that is reported, two tries that are the same, or what `MethodRuns.check` refuses; an earlier
                comparison whose tries are no tries of this one.
        """
        options = plain(config)
        of_methods = options.get("tries") or {}  # none after ~tries
        split, seed = options["tune_split"], options["tune_seed"]
        methods = {method.name: method for method in method_runs.methods if method.name in options["methods"]}
        tries, overrides = {}, {}
        for name, lists in of_methods.items():
            if students := [each.name for each in methods.values() if name in [of.name for of in _lineage(each)[1:]]]:
                if name not in methods:
                    raise ValueError(f"tries.{name} is of the teacher of {students[0]}: add {name} to methods, too")
            elif name not in methods and name in tried_elsewhere:
                continue
            if name not in methods:
                raise ValueError(f"tries.{name} is of none of methods={list(methods)}: add it there, or leave it out")
            if not _are_lists(lists):
                raise ValueError(
                    f"tries.{name}={lists!r} must be a list of lists of overrides of the captioner's training, such as "
                    "[[alignment.noise_std=0.04], [alignment.noise_std=0.08]]"
                )
            if tuned := [each.name for each in _lineage(methods[name])[1:] if each.name in of_methods]:
                raise ValueError(
                    f"tries.{name} goes on from {tuned[0]}, which has tries, too: its settings are not known yet. "
                    "Leave one of them out"
                )
            variants = [_try(methods[name], part) for part in lists]
            tries[name] = variants
            overrides |= {variant.name: part for variant, part in zip(variants, lists, strict=True)}
        if not isinstance(split, str):
            raise ValueError(f"tune_split={split!r} must be one split, on which all tries of all methods are scored")
        decoding = compose_config("eval_coco", f"decoding={options['tune_decoding']}").decoding
        earlier = earlier_tries(options["tried"], options)
        made = {
            variant.name: entry
            for name, variants in tries.items()
            for variant in variants
            for entry in earlier
            if (entry.method, entry.overrides) == (name, list(overrides[variant.name]))
        }
        if options["tried"] and not made:
            raise ValueError(f"tried={options['tried']} has none of the tries that this comparison makes: leave it out")
        runs = replace(
            method_runs,
            methods=[variant for variants in tries.values() for variant in variants if variant.name not in made],
            decodings={options["tune_decoding"]: Decoding(**decoding)},
            split=split,
            scoring=replace(method_runs.scoring, metrics=("CIDEr",)),
        )
        tuning = cls(tries, overrides, runs, seed, config.split, made)
        if tries:
            tuning.check()
        return tuning

    def check(self) -> None:
        """Refuse what would fail only after hours. Raises ValueError."""
        store = EmbeddingStore(self.runs.store)
        split_references(store, self.runs.split)
        if set(store.image_ids(self.runs.split)) & set(store.image_ids(self.reported)):
            raise ValueError(
                f"tune_split={self.runs.split} has images of the split that is reported (split={self.reported}): "
                "choose settings on others, such as those of val"
            )
        for method, variants in self.tries.items():
            settings: dict[str, Method] = {}
            for variant in variants:
                first = settings.setdefault(self.runs.settings(variant, self.seed), variant)
                if first is not variant:
                    one, other = (self.overrides[each.name] for each in (first, variant))
                    raise ValueError(f"tries.{method} has {one} and {other}, which are the same: leave one of them out")
        self.runs.check([self.seed])

    def untried(self, methods: Sequence[Method]) -> list[Method]:
        """The methods whose settings are known before any try."""
        return [method for method in methods if not set(map(_settings_of, _lineage(method))) & set(self.tries)]

    def run(self, methods: Sequence[Method]) -> tuple[list[Method], list[TryResult]]:
        """Train and score all tries; returns the methods with the best try's overrides, and what all came to.

        Raises:
            ValueError: CIDEr could not run.
        """
        runs = {run.method: run for run in self.runs.run([self.seed])} if self.runs.methods else {}
        if self.tries:
            earlier = f", {len(self.made)} of them made before" if self.made else ""
            print(f"Tries on {self.runs.split}: {len(runs) + len(self.made)}{earlier}", flush=True)
        scored = {name: (entry.cider, entry.evaluation) for name, entry in self.made.items()}
        scored |= {name: (_cider(run), run.evaluation) for name, run in runs.items()}
        best = {
            name: max(variants, key=lambda variant: scored[variant.name][0]) for name, variants in self.tries.items()
        }
        results = [
            TryResult(
                method=name,
                overrides=list(self.overrides[variant.name]),
                cider=scored[variant.name][0],
                used=variant is best[name],
                evaluation=scored[variant.name][1],
            )
            for name, variants in self.tries.items()
            for variant in variants
        ]
        return [self._tuned(method, best) for method in methods], results

    def _tuned(self, method: Method, best: Mapping[str, Method]) -> Method:
        """A method with the overrides of the best try, and so an oracle that has its settings, or a method that goes on
        from it."""
        if method.teacher:
            teacher = self._tuned(method.teacher, best)
            method = replace(method, teacher=teacher, selected=teacher.selected)
        if (name := _settings_of(method)) not in best:
            return method
        return replace(method, overrides=best[name].overrides, selected=len(self.tries[name]) > 1)


def _settings_of(method: Method) -> str:
    """The method whose tries decide a method's settings, nearly always itself."""
    return COLLAPSE if method.name in ORACLES else method.trained


def _lineage(method: Method) -> list[Method]:
    """The method and its teachers."""
    return [method, *(_lineage(method.teacher) if method.teacher else [])]


def _are_lists(lists: object) -> bool:
    """Whether these are lists of words, one at least."""
    if not isinstance(lists, list) or not lists:
        return False
    return all(isinstance(part, list) and all(isinstance(text, str) for text in part) for part in lists)


def _try(method: Method, overrides: Sequence[str]) -> Method:
    """A variant of a method, called by its overrides, so that a run folder is that of the same try in any list."""
    stage = method.captioner
    called = re.sub(r"[^\w.-]+", "-", "_".join(overrides)) or "as_configured"
    name = f"{method.name}_{called}"
    together = {**method.overrides, stage: (*method.overrides.get(stage, ()), *overrides)}
    return replace(method, name=name, trained=name, overrides=together)


def _cider(run: MethodResult) -> float:
    if run.cider is None:
        raise ValueError(
            f"CIDEr of the try {run.method} could not run ({run.result.unavailable.get('CIDEr')}), so that no settings "
            "can be chosen by it"
        )
    return run.cider
