"""Semi-supervised training: captioners that learned from text alone go on with some image-text pairs.

The semi-supervised setting of C³ (arXiv 2401.08567), whose baseline learns from the same pairs without such a start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from comparison.methods import STAGES, Method
from comparison.parts import Part
from comparison.runs import MethodRuns
from evaluation.reports.method_result import MethodResult

FROM_SCRATCH = "from_scratch"  # ClipCap with its image rows as they are: nothing was learned from text before
TEXT_ONLY = "none"  # the column of captioners that saw no pair


def check_startable(methods: Sequence[Method]) -> None:
    """Refuse methods whose captioners cannot go on with pairs.

    Raises:
        ValueError: a PCM-Net, prefix parts, or a method of the baseline's name.
    """
    for method in methods:
        if why := method.cannot_go_on:
            raise ValueError(
                f"few_pairs goes on with captioners of image_captioning.train without prefix parts, and {method.name} "
                f"{why}: leave it out of methods"
            )
        if method.name == FROM_SCRATCH:
            raise ValueError(f"methods names {FROM_SCRATCH}, which few_pairs calls its baseline: rename the variant")


def run_with_pairs(
    runs: MethodRuns, part: Part, seeds: Sequence[int], of_all: Sequence[str], fine_tuning: Sequence[str]
) -> Iterator[MethodResult]:
    """Train every method's text-only captioner on some pairs, and the baseline from nothing; evaluate all.

    Args:
        runs: of the text-only captioners, which are trained already.
        of_all, fine_tuning: overrides of these trainings, and of those that have a start.
    """
    for seed in seeds:
        for result in with_pairs(runs, part, seed, of_all, fine_tuning).run([seed]):
            yield replace(result, pairs_share=part.label, percent=part.percent)


def with_pairs(
    runs: MethodRuns, part: Part, seed: int, of_all: Sequence[str], fine_tuning: Sequence[str]
) -> MethodRuns:
    """The trainings of one seed on some pairs, drawn by that seed, in folders of their own."""
    count = f"train_captions={'null' if part.is_everything else part.count}"

    def on_pairs(method: Method, *overrides: str) -> Method:
        its = [text for text in method.overrides_of("image_captioning") if not text.startswith("decoding@teacher=")]
        together = (*its, *of_all, count, *overrides)
        every = {stage: method.overrides_of(stage) for stage in STAGES} | {"image_captioning": together}
        return replace(method, train_on="pairs", overrides=every, teacher=None)

    started = [
        on_pairs(method, *fine_tuning, f"init_from={runs.captioner_dir(method, seed)}")
        for method in runs.methods
        if method.train_on in ("text", "images") and method.caption_from == "images"
    ]
    scratch = on_pairs(Method(FROM_SCRATCH, "c1", FROM_SCRATCH))
    # Methods that share a text-only captioner part here: each learns from images as it reads them itself.
    methods = [replace(method, trained=method.name) for method in (*started, scratch)]
    return replace(runs, name=f"{runs.name}_{part.name}_pairs", methods=methods, tried=())
