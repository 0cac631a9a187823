"""The demo world's painter: draws from a caption alone, with the faults of text-to-image models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pydantic import Field

from common.checks import Share, checked_dataclass
from demo_world.parse import parse_caption
from demo_world.render import IMAGE_SIZE, render
from demo_world.scene import Group, Thing
from demo_world.sprites import LICENSE, PINNED, require_packages
from synthetic_images import defects
from synthetic_images.defects import Defect
from synthetic_images.demo_faults import Alter, blur, spoil_plan, warping
from synthetic_images.demo_plan import lay_out_plan, make_plan
from synthetic_images.drawing import Drawer
from synthetic_images.painter import Drawn


@checked_dataclass(prefix="painter.")
class DemoPainter(Drawer):
    """Draws a scene of what a caption says, and nothing else.

    At `unfaithfulness` 0 the picture shows all of it; at 1 each fault is as likely as its option says, and in between
    proportionally less. With the same seed, most faults at one level are faults at a higher one, too.

    Args:
        unfaithfulness: factor on all probabilities below.
        missing_object: probability that a group is left out; one group always stays.
        extra_object: probability that the picture has a group that the caption does not name.
        wrong_count: probability that a group has another number of things than the caption says.
        wrong_color: probability that a group whose color the caption says has another one.
        distorted_object, blurred_object: probabilities that a thing is warped, or out of focus.
        wrong_place: probability that the backdrop is of another place than the caption says.
        image_size: pixels on a side.

    Raises:
        ImportError: the sprite packages are missing or have other versions.
    """

    unfaithfulness: Share = 0.5
    missing_object: Share = 0.2
    extra_object: Share = 0.3
    wrong_count: Share = 0.4
    wrong_color: Share = 0.5
    distorted_object: Share = 0.3
    blurred_object: Share = 0.2
    wrong_place: Share = 0.2
    image_size: Annotated[int, Field(ge=32)] = IMAGE_SIZE

    on_cores = True
    knows_defects = True

    def __post_init__(self):
        require_packages()

    def options(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"packages": PINNED, "license": LICENSE}

    def draw(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Drawn]:
        return [self.draw_one(caption, seed) for caption, seed in zip(captions, seeds, strict=True)]

    def draw_one(self, caption: str, seed: int) -> Drawn:
        """The picture of one caption.

        Raises:
            ValueError: it is no caption of the demo world.
        """
        options = self.options()
        chances = {kind: self.unfaithfulness * options[kind] for kind in defects.KINDS}
        planning, placing, spoiling = np.random.default_rng(seed).spawn(3)
        said = parse_caption(caption)
        plan = make_plan(said, planning)
        faults = spoil_plan(plan, said, chances, spoiling)
        scene, groups = lay_out_plan(plan, placing)
        missing = [groups[fault.item] for fault in faults if fault.kind == defects.MISSING and fault.item is not None]
        scene = replace(scene, groups=tuple(group for group in scene.groups if group not in missing))
        altered, blemishes = _blemishes(scene.groups, chances, spoiling)
        pixels = render(scene, self.image_size, lambda thing, picture: altered.get(thing, _unaltered)(picture))
        return Drawn(Image.fromarray(pixels), (*(fault.defect(groups) for fault in faults), *blemishes))


def _unaltered(picture: Image.Image) -> Image.Image:
    return picture


def _blemishes(
    groups: Sequence[Group], chances: Mapping[str, float], rng: np.random.Generator
) -> tuple[dict[Thing, Alter], list[Defect]]:
    """Which things are drawn badly, and how."""
    altered: dict[Thing, Alter] = {}
    blemishes = []
    for group in groups:
        for thing in group.things:
            distorts, blurs = rng.random(2) < (chances[defects.DISTORTED], chances[defects.BLURRED])
            warp = warping(rng)
            if distorts:
                altered[thing] = warp
                kind, state = defects.DISTORTED, "distorted"
            elif blurs:
                altered[thing] = blur
                kind, state = defects.BLURRED, "blurred"
            else:
                continue
            blemishes.append(Defect(kind, group.noun, *group.box(thing), "intact", state))
    return altered, blemishes
