"""The methods that a captioner's parts allow at inference: its chain of steps, whole or with steps left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alignment.chain import Alignment
from alignment.row_memory import RowMemory
from alignment.step import Step
from alignment.steps import Center, Normalize
from ddpm.bridge import DiffusionBridge
from image_captioning.captioner import Captioner
from image_captioning.captioning_model import CaptioningModel

CONSENSUS = "consensus"
KINDS: dict[str, type[Step]] = {"mean": Center, "memory": RowMemory, "bridge": DiffusionBridge}
# Which kinds of steps a method keeps, where the chain has them.
VARIANTS: dict[str, tuple[str, ...]] = {
    "raw": (),
    "collapse": ("mean",),
    "memory": ("mean", "memory"),
    "bridge": ("mean", "bridge"),
    "memory_bridge": ("mean", "memory", "bridge"),
}
# What a kind does, in the words of the page: before another one, and as the last.
BEFORE = {"mean": "− the mean", "memory": "memory"}
LAST = {
    "mean": "− the mean of the {medium}s",
    "memory": "a weighted mean of similar training texts",
    "bridge": "denoised by the text diffusion model",
}


@dataclass(frozen=True)
class Method:
    """One way from a raw row to a caption by the decoder of one checkpoint.

    Attributes:
        name: for tables, links and the endpoint.
        does: one line on it.
        chain: what rows go through.
        consensus: whether captions near the image choose among beams.
    """

    name: str
    does: str
    chain: Alignment
    consensus: bool = False

    @property
    def bridge(self) -> DiffusionBridge | None:
        """Its denoising step, if it has one."""
        return next((step for step in self.chain.steps if isinstance(step, DiffusionBridge)), None)

    def with_bridge(self, timestep: int | None, steps: int | None) -> Method:
        """This method with another injection timestep and number of denoising steps; None: the checkpoint's own.

        Raises:
            ValueError: a value out of range, or a method without a bridge.
        """
        options = {"image_timestep": timestep, "image_steps": steps}
        changed = {name: value for name, value in options.items() if value is not None}
        if not changed:
            return self
        if self.bridge is None:
            raise ValueError(
                f"method={self.name} has no diffusion step, so {' and '.join(changed)} would do nothing: leave them out"
            )
        return Method(self.name, self.does, self.chain.with_inference_options(changed), self.consensus)


def methods_of(captioner: CaptioningModel, name: str, medium: str, has_memory_captions: bool) -> list[Method]:
    """The methods of a captioner, its own whole chain among them, in the order of the chain's steps.

    Args:
        name: of its whole chain, where that is none of `VARIANTS`.
        medium: what its encoder reads.
        has_memory_captions: whether a consensus can be had.
    """
    chain = captioner.alignment
    methods = _variants(chain, medium) if isinstance(captioner, Captioner) and chain.translation is None else []
    visible = _visible(chain)
    whole = next((method for method in methods if _visible(method.chain) == visible), None)
    if whole is None:
        whole = Method(name, f"all steps of the checkpoint: {', '.join(visible) or 'none'}", chain)
        methods.append(whole)
    else:  # the checkpoint's own object, whose memory is not copied
        methods[methods.index(whole)] = whole = Method(whole.name, whole.does, chain)
    if has_memory_captions:
        does = f"{whole.name}, whose ten beams are ranked by the training captions near the {medium}"
        methods.append(Method(CONSENSUS, does, whole.chain, consensus=True))
    return methods


def _variants(chain: Alignment, medium: str) -> list[Method]:
    there = {kind for kind, step_type in KINDS.items() if any(isinstance(step, step_type) for step in chain.steps)}
    methods = []
    for name, kinds in VARIANTS.items():
        needed = set(kinds) - {"mean"} or set(kinds)  # a chain without a mean has its memory without
        if needed <= there:
            kept = [step for step in chain.steps if isinstance(step, tuple(KINDS[kind] for kind in kinds))]
            does = _sentence([kind for kind in kinds if kind in there]).format(medium=medium)
            methods.append(Method(name, does, _chain(kept)))
    return methods


def _sentence(kinds: list[str]) -> str:
    """What a method does that keeps these kinds of steps, for a {medium}."""
    if not kinds:
        return "the {medium}'s embedding as it is (C³'s c1)"
    *before, last = kinds
    return ", ".join([*(BEFORE[kind] for kind in before), f"then {LAST[last]}" if before else LAST[last]])


def _chain(steps: list[Step]) -> Alignment:
    """Steps that expect unit rows and give any, with a `Normalize` before each and at the end."""
    joined: list[Step] = []
    for step in steps:
        joined += [Normalize(), step]
    return Alignment([*joined, Normalize()])


def _visible(chain: Alignment) -> list[str]:
    """The names of the steps that change inference rows beyond their length."""
    steps = [*([] if chain.translation is None else [chain.translation]), *chain.steps]
    return [type(step).__name__ for step in steps if _changes(step)]


def _changes(step: Step) -> bool:
    inference: Callable[..., Any] = type(step).inference_side
    return not isinstance(step, Normalize) and inference is not Step.inference_side
