"""Which methods are compared: of configs/alignment, variants of them, and oracles; and which stages each trains."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from common.paths import CONFIGS
from evaluation.reports.comparison_tables import ORACLES

# A stage is a training by configs/<stage>.yaml. Comparisons and variants have its overrides under these names.
STAGES = {"ddpm": "ddpm", "image_captioning": "captioner", "pcm_net": "pcm_net"}
# Methods beside those of configs/alignment. One with the key pcm_net is a PCM-Net.
BUILT_IN: Mapping[str, Mapping] = {"pcm_net": {"alignment": "c2_corrupt", "pcm_net": []}}
KEYS = ("alignment", "teacher", *STAGES.values())  # of a variant
COLLAPSE = "c2_collapse"  # whose settings the oracles have
STAGE_OF_STEP = {"DiffusionBridge": "ddpm"}  # the stage that trains what an alignment step is made from


@dataclass(frozen=True)
class Method:
    """A row of the table: how its captioner is trained, and what that captions from.

    alignment: a config in configs/alignment. overrides: {stage: its own overrides}.
    trained: the method whose captioner it evaluates, nearly always itself.
    diffusion: what its diffusion model's folder is named by; "" for the one that methods share.
    captioner: the stage that trains its captioner. selected: whether scores against references chose its overrides.
    teacher: of self-training: the method whose captioner it goes on from, with captions which that one writes of
        unpaired images. All of the teacher's overrides are its own, too.
    """

    name: str
    alignment: str
    trained: str
    overrides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    diffusion: str = ""
    train_on: str = "text"
    caption_from: str = "images"
    captioner: str = "image_captioning"
    selected: bool = False
    teacher: Method | None = None

    def overrides_of(self, stage: str) -> tuple[str, ...]:
        """The overrides of a stage, the teacher's before its own."""
        of_teacher = self.teacher.overrides_of(stage) if self.teacher else ()
        return (*of_teacher, *self.overrides.get(stage, ()))

    @property
    def cannot_go_on(self) -> str | None:
        """Why no other training can start from its captioner; None where one can."""
        if self.captioner != "image_captioning":
            return "is a PCM-Net"
        parts = [text for text in self.overrides_of(self.captioner) if text.startswith("parts=")]
        return f"has {parts[0]}" if parts else None

    def stages(self, steps: Sequence[Mapping]) -> list[str]:
        """What is trained for it, in order: what the steps of its alignment are made from, then the captioner.

        A teacher's stages are not among them. Raises ValueError when it has overrides of a stage that it does not have.
        """
        needed = {STAGE_OF_STEP.get(entry["step"]) for entry in steps} | {self.captioner}
        for step, stage in STAGE_OF_STEP.items():
            if self.overrides.get(stage) and stage not in needed:
                raise ValueError(f"variants.{self.name} has {STAGES[stage]} overrides, but its alignment has no {step}")
        return [stage for stage in STAGES if stage in needed]


def find_methods(names: Sequence[str], oracles: Sequence[str], variants: Mapping | None = None) -> list[Method]:
    """The rows that `methods`, `oracles` and `variants` ask for. Raises ValueError for an unknown name or key."""
    options_of = {**BUILT_IN, **(variants or {})}
    known_variants = {name: _variant_of(name, options_of) for name in options_of}
    if not names:
        raise ValueError(f"methods={list(names)} must not be empty")
    for option, chosen in (("methods", names), ("oracles", oracles)):
        if len(set(chosen)) != len(chosen):
            raise ValueError(f"{option}={list(chosen)} names one of them twice")
    if unknown := set(oracles) - set(ORACLES):
        raise ValueError(f"oracles={sorted(unknown)} are unknown; known: {', '.join(ORACLES)}")
    if "oracle_text" in oracles and COLLAPSE not in names:
        raise ValueError(f"oracle_text reads with the collapse decoder: add {COLLAPSE} to methods")
    alignments = {path.stem for path in (CONFIGS / "alignment").glob("*.yaml")}
    methods = []
    for name in names:
        method = known_variants.get(name, Method(name, name, name))
        if method.alignment not in alignments or name in ORACLES:
            known = ", ".join(sorted({*alignments, *known_variants}))
            raise ValueError(f"Unknown method {name!r} (alignment={method.alignment}); known: {known}")
        methods.append(_with_diffusion(method, known_variants))
    collapse = known_variants.get(COLLAPSE, Method(COLLAPSE, COLLAPSE, COLLAPSE))
    captioner = {"image_captioning": collapse.overrides.get("image_captioning", ())}
    reads_pairs = Method("oracle_pairs", collapse.alignment, "oracle_pairs", captioner, train_on="pairs")
    reads_text = replace(reads_pairs, name="oracle_text", trained=COLLAPSE, train_on="text", caption_from="texts")
    return methods + [reads_pairs if name == "oracle_pairs" else reads_text for name in oracles]


def _variant_of(name: str, variants: Mapping[str, Mapping], students: Sequence[str] = ()) -> Method:
    """The variant, with its teacher if it has one. students: those whose teacher it is."""
    options = variants.get(name, {})
    if (taught := options.get("teacher")) is None:
        return _variant(name, options)
    if name in students:
        raise ValueError(f"variants.{name} and its teachers are each other's: {' <- '.join([*students, name])}")
    return _self_trained(name, options, _variant_of(taught, variants, [*students, name]))


def _variant(name: str, options: Mapping) -> Method:
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"variants.{name}: the name of a run folder may hold letters, digits and _ . - only")
    if unknown := set(options) - set(KEYS):
        raise ValueError(f"variants.{name} has unknown keys {sorted(unknown)}; known: {', '.join(KEYS)}")
    overrides = {stage: tuple(options.get(key) or ()) for stage, key in STAGES.items()}
    captioner = "pcm_net" if "pcm_net" in options else "image_captioning"
    if captioner == "pcm_net" and overrides["image_captioning"]:
        raise ValueError(f"variants.{name} has overrides of captioner, but it is a PCM-Net: give them as pcm_net")
    return Method(name, options.get("alignment") or name, name, overrides, captioner=captioner)


def _self_trained(name: str, options: Mapping, teacher: Method) -> Method:
    """A variant that goes on from its teacher's captioner."""
    for key in ("alignment", "ddpm", "pcm_net"):
        if key in options:
            raise ValueError(f"variants.{name} has a teacher, whose {key} it takes: leave {key} out")
    if reason := teacher.cannot_go_on:
        raise ValueError(f"variants.{name} goes on from the captioner of teacher={teacher.name}, but that {reason}")
    method = _variant(name, {**options, "alignment": teacher.alignment})
    for text in method.overrides["image_captioning"]:
        if text.partition("=")[0] == "init_from":
            raise ValueError(
                f"variants.{name} has {text}, but it goes on from teacher={teacher.name}: leave one of them out"
            )
    return replace(method, teacher=teacher, train_on="images")


def _with_diffusion(method: Method, variants: Mapping[str, Method]) -> Method:
    """With the name of its diffusion model, a teacher's where it has one."""
    teacher = _with_diffusion(method.teacher, variants) if method.teacher else None
    diffusion = teacher.diffusion if teacher else _diffusion_name(method, variants)
    return replace(method, diffusion=diffusion, teacher=teacher)


def _diffusion_name(method: Method, variants: Mapping[str, Method]) -> str:
    """Variants with equal overrides share a diffusion model, named by the first of them."""
    ddpm = method.overrides.get("ddpm")
    return next((name for name, other in variants.items() if ddpm and other.overrides["ddpm"] == ddpm), "")
