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
COLLAPSE = "c2_collapse"  # whose settings the oracles have
STAGE_OF_STEP = {"DiffusionBridge": "ddpm"}  # the stage that trains what an alignment step is made from


@dataclass(frozen=True)
class Method:
    """A row of the table: how its captioner is trained, and what that captions from.

    alignment: a config in configs/alignment. overrides: {stage: its own overrides}.
    trained: the method whose captioner it evaluates, nearly always itself.
    diffusion: what its diffusion model's folder is named by; "" for the one that methods share.
    captioner: the stage that trains its captioner. selected: whether scores against references chose its overrides.
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

    def stages(self, steps: Sequence[Mapping]) -> list[str]:
        """What is trained for it, in order: what the steps of its alignment are made from, then the captioner.

        Raises ValueError when it has overrides of a stage that it does not have.
        """
        needed = {STAGE_OF_STEP.get(entry["step"]) for entry in steps} | {self.captioner}
        for step, stage in STAGE_OF_STEP.items():
            if self.overrides.get(stage) and stage not in needed:
                raise ValueError(f"variants.{self.name} has {STAGES[stage]} overrides, but its alignment has no {step}")
        return [stage for stage in STAGES if stage in needed]


def find_methods(names: Sequence[str], oracles: Sequence[str], variants: Mapping | None = None) -> list[Method]:
    """The rows that `methods`, `oracles` and `variants` ask for. Raises ValueError for an unknown name or key."""
    known_variants = {name: _variant(name, options) for name, options in {**BUILT_IN, **(variants or {})}.items()}
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
        methods.append(replace(method, diffusion=_diffusion_name(method, known_variants)))
    collapse = known_variants.get(COLLAPSE, Method(COLLAPSE, COLLAPSE, COLLAPSE))
    captioner = {"image_captioning": collapse.overrides.get("image_captioning", ())}
    reads_pairs = Method("oracle_pairs", collapse.alignment, "oracle_pairs", captioner, train_on="pairs")
    reads_text = replace(reads_pairs, name="oracle_text", trained=COLLAPSE, train_on="text", caption_from="texts")
    return methods + [reads_pairs if name == "oracle_pairs" else reads_text for name in oracles]


def _variant(name: str, options: Mapping) -> Method:
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"variants.{name}: the name of a run folder may hold letters, digits and _ . - only")
    keys = ("alignment", *STAGES.values())
    if unknown := set(options) - set(keys):
        raise ValueError(f"variants.{name} has unknown keys {sorted(unknown)}; known: {', '.join(keys)}")
    overrides = {stage: tuple(options.get(key) or ()) for stage, key in STAGES.items()}
    captioner = "pcm_net" if "pcm_net" in options else "image_captioning"
    if captioner == "pcm_net" and overrides["image_captioning"]:
        raise ValueError(f"variants.{name} has overrides of captioner, but it is a PCM-Net: give them as pcm_net")
    return Method(name, options.get("alignment") or name, name, overrides, captioner=captioner)


def _diffusion_name(method: Method, variants: Mapping[str, Method]) -> str:
    """Variants with equal overrides share a diffusion model, named by the first of them."""
    ddpm = method.overrides.get("ddpm")
    return next((name for name, other in variants.items() if ddpm and other.overrides["ddpm"] == ddpm), "")
