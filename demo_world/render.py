"""From a scene to its pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops

from demo_world.backdrops import RAIN_SLANT, backdrop, precipitation
from demo_world.lexicon import NOUN
from demo_world.scene import Scene, Thing
from demo_world.sprites import sprite

IMAGE_SIZE = 96  # pixels; things are sized to be recognized at this size
DARK = frozenset({"forest", "underwater", "city"})  # backdrops on which black contours need a light rim


def render(
    scene: Scene,
    size: int = IMAGE_SIZE,
    alter: Callable[[Thing, Image.Image], Image.Image] | None = None,
    fallen: float | None = 0.0,
) -> np.ndarray:
    """Draw the scene: (size, size, 3) uint8. Things further back are drawn first.

    Args:
        alter: gives what is drawn for a thing instead of its sprite, an RGBA picture of the same size.
        fallen: how far rain or snow has fallen since another picture of the scene, in heights of the picture; None
            where it does not fall yet, or any more.
    """
    image = backdrop(scene.place, scene.weather, scene.backdrop, size).copy()
    outlined = scene.weather == "night" or scene.place in DARK
    things = [(thing.y, thing.x, group, thing) for group in scene.groups for thing in group.things]
    for _, _, group, thing in sorted(things, key=lambda entry: entry[:2]):
        picture = sprite(NOUN[group.noun], group.color, max(6, round(thing.height * size)), thing.mirrored, outlined)
        if alter is not None:
            picture = alter(thing, picture)
        corner = (round(thing.x * size - picture.width / 2), round(thing.y * size) - picture.height + 1)
        image.paste(picture, corner, picture)
    falling = precipitation(scene.weather, scene.backdrop, size)
    if falling is not None and fallen is not None:
        if fallen:
            slant = RAIN_SLANT if scene.weather == "rainy" else 0.0
            falling = ImageChops.offset(falling, round(slant * fallen * size), round(fallen * size))
        image.paste(falling, (0, 0), falling)
    return np.asarray(image)
