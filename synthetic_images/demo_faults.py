"""What the demo world's painter gets wrong: in the plan of a picture, and in single sprites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from demo_world.parse import Description
from demo_world.places import PLACES
from demo_world.scene import LEAST_SCALE, Box, Group, draw_noun, possible_nouns, sample_color, squeeze
from synthetic_images import defects
from synthetic_images.defects import Defect
from synthetic_images.demo_plan import Item, Plan

EVERYWHERE: Box = (0.0, 0.0, 1.0, 1.0)
EXTRA_FLIES = (
    0.3  # the share of extra objects that are in the sky, if there is nothing yet; more where the ground is full
)
CELLS = 3  # of a distorted sprite, on a side
WARP = 0.5  # greatest shift of a cell's corner, in cells
BLUR = 0.06  # standard deviation, in heights of the sprite
Alter = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Fault:
    """A change of the plan. `item` is its place in the plan; None for the backdrop."""

    kind: str
    item: int | None
    intended: str
    painted: str

    def defect(self, groups: Sequence[Group]) -> Defect:
        """The same with the place where the items' groups came to be."""
        if self.item is None:
            return Defect(self.kind, "", *EVERYWHERE, self.intended, self.painted)
        group = groups[self.item]
        x0, y0, x1, y1 = zip(*(group.box(thing) for thing in group.things), strict=True)
        return Defect(self.kind, group.noun, min(x0), min(y0), max(x1), max(y1), self.intended, self.painted)


def spoil_plan(plan: Plan, said: Description, chances: dict[str, float], rng: np.random.Generator) -> list[Fault]:
    """Change the plan, each kind of fault as likely as `chances` says; returns the faults.

    Items that are missing stay in the plan, so that there is room where they would have been.
    """
    faults = []
    draws = rng.random((len(plan.items), 3))  # missing, count, color
    missing = draws[:, 0] < chances[defects.MISSING]
    if missing.all():
        missing[draws[:, 0].argmax()] = False
    for number, (item, mention) in enumerate(zip(plan.items, said.mentions, strict=True)):
        other = rng.spawn(1)[0]  # so that one fault leaves the others as they are
        if missing[number]:
            faults.append(Fault(defects.MISSING, number, str(item.count), "0"))
            continue
        counts = [count for count in range(1, item.noun.most + 1) if count not in mention.counts]
        if counts and draws[number, 1] < chances[defects.COUNT]:
            intended, item.count = item.count, int(other.choice(counts))
            faults.append(Fault(defects.COUNT, number, str(intended), str(item.count)))
        colors = [color for color in item.noun.colors if color != mention.color]
        if mention.color and colors and draws[number, 2] < chances[defects.COLOR]:
            item.color = str(other.choice(colors))
            faults.append(Fault(defects.COLOR, number, mention.color, item.color))
    place, extra = rng.spawn(2)
    if said.place and place.random() < chances[defects.PLACE]:
        others = [other.name for other in PLACES if other.name != plan.place and plan.weather in other.weathers]
        plan.place = str(place.choice(others))
        faults.append(Fault(defects.PLACE, None, said.place, plan.place))
    if extra.random() < chances[defects.EXTRA] and (item := _extra_item(plan, extra)) is not None:
        plan.items.append(item)
        faults.append(Fault(defects.EXTRA, len(plan.items) - 1, "0", "1"))
    return faults


def _extra_item(plan: Plan, rng: np.random.Generator) -> Item | None:
    """Something else that may be in the place, if there is room."""
    taken = [item.noun for item in plan.items]
    standing = [(item.noun, item.count) for item in plan.items if item.noun.zone != "sky"]
    below, sky = (possible_nouns(plan.place, plan.weather, sky) for sky in (False, True))
    noun = draw_noun(rng, below, taken)
    room = squeeze([*standing, (noun, 1)]) >= LEAST_SCALE
    if sky and plan.flying is None and (rng.random() < EXTRA_FLIES or not room):
        noun = draw_noun(rng, sky, taken)
    elif not room:
        return None
    return Item(noun, 1, sample_color(rng, noun), mentioned=False)


def warping(rng: np.random.Generator) -> Alter:
    """A distortion of sprites: the corners of a grid over them are shifted."""
    shifts = WARP * rng.uniform(-1, 1, (CELLS + 1, CELLS + 1, 2))

    def warp(picture: Image.Image) -> Image.Image:
        size = np.array(picture.size)
        corners = np.stack(np.meshgrid(*2 * [np.arange(CELLS + 1)]), axis=-1) * size / CELLS  # (row, column, xy)
        sources = np.clip(corners + shifts * size / CELLS, 0, size)
        corners = corners.round().astype(int)
        mesh = [
            (
                (*corners[row, column].tolist(), *corners[row + 1, column + 1].tolist()),
                (
                    *sources[row, column].tolist(), *sources[row + 1, column].tolist(),
                    *sources[row + 1, column + 1].tolist(), *sources[row, column + 1].tolist(),
                ),
            )
            for row in range(CELLS)
            for column in range(CELLS)
        ]  # fmt: skip
        return picture.transform(picture.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)

    return warp


def blur(picture: Image.Image) -> Image.Image:
    """The sprite out of focus."""
    radius = BLUR * picture.height
    return picture.convert("RGBa").filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
