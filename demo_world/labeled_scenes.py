"""Drawn scenes with what is in them, as tensors: what the detector learns from and is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from common.cores import map_over_cores
from demo_world.detector import VOCABULARY, to_pixels
from demo_world.lexicon import NOUNS, Noun
from demo_world.places import PLACES
from demo_world.render import IMAGE_SIZE, render
from demo_world.scene import LEAST_SCALE, Scene, in_the_sky, lay_out, sample_scene, sample_sizes, squeeze
from demo_world.world import scene_and_captions
from demo_world.write_world import SCENES_WORTH_PROCESSES, SPLITS


@dataclass(frozen=True, eq=False)
class LabeledScenes:
    """N scenes.

    Attributes:
        pictures: (N, 3, S, S) uint8.
        nouns: (N, nouns) bool, whether the picture has such a thing.
        places, weathers: (N,) int64.
        captions: five of each scene; none of a scene that the world would not have.
    """

    pictures: Tensor
    nouns: Tensor
    places: Tensor
    weathers: Tensor
    captions: list[list[str]]

    def __len__(self) -> int:
        return len(self.pictures)


def draw_scenes(
    seed: int, split: str, count: int, image_size: int, misplaced: float = 0.0, progress: bool = False
) -> LabeledScenes:
    """The first `count` scenes of a world's split, drawn at the demo's size and then brought to `image_size`, as any
    picture that the detector looks at.

    Args:
        misplaced: the share of scenes in whose stead there is one of `misplaced_scene`.
    """
    pictures = torch.empty(count, 3, image_size, image_size, dtype=torch.uint8)
    nouns = torch.zeros(count, len(VOCABULARY["nouns"]), dtype=torch.bool)
    places, weathers = torch.empty(2, count, dtype=torch.int64)
    all_captions = []
    with map_over_cores(count >= SCENES_WORTH_PROCESSES, chunksize=32) as each:
        drawn = each(partial(_draw, seed, split, image_size, misplaced), range(count))
        bar = tqdm(drawn, f"draw {split} scenes", count, unit="scene", disable=not progress, dynamic_ncols=True)
        for row, (pixels, there, place, weather, captions) in enumerate(bar):
            pictures[row] = torch.from_numpy(pixels)
            nouns[row, there] = True
            places[row], weathers[row] = place, weather
            all_captions.append(captions)
    return LabeledScenes(pictures, nouns, places, weathers, all_captions)


def misplaced_scene(rng: np.random.Generator) -> Scene:
    """A scene as the world draws it, with any things in any place: a detector that never saw a bus on a lake takes it
    for a canoe, and generators paint both."""
    usual, place = sample_scene(rng), PLACES[int(rng.integers(len(PLACES)))]
    weather = place.weathers[int(rng.integers(len(place.weathers)))]
    kinds = [(noun := _any(rng, sky=False), min(group.count, noun.most)) for group in usual.standing]
    while len({noun for noun, _ in kinds}) < len(kinds) or (len(kinds) > 1 and squeeze(kinds) < LEAST_SCALE):
        kinds.pop()
    groups = lay_out(rng, kinds, sample_sizes(rng, kinds))
    if usual.flying is not None:
        groups.append(in_the_sky(rng, _any(rng, sky=True), usual.flying.count, weather, usual.backdrop))
    return Scene(place.name, weather, usual.backdrop, tuple(groups))


def _any(rng: np.random.Generator, sky: bool) -> Noun:
    nouns = [noun for noun in NOUNS if (noun.zone == "sky") == sky]
    return nouns[int(rng.integers(len(nouns)))]


def _draw(
    seed: int, split: str, image_size: int, misplaced: float, index: int
) -> tuple[np.ndarray, list[int], int, int, list[str]]:
    """Pixels (3, S, S) uint8, the numbers of the nouns, of the place and of the weather, and the captions."""
    rng = np.random.default_rng([seed, SPLITS[split], index, 1])  # the world's own scenes have three numbers
    scene, captions = scene_and_captions(seed, split, index)
    if rng.random() < misplaced:
        scene, captions = misplaced_scene(rng), []
    pixels = to_pixels(Image.fromarray(render(scene, IMAGE_SIZE)), image_size).numpy()
    there = [VOCABULARY["nouns"].index(group.noun) for group in scene.groups]
    place, weather = VOCABULARY["places"].index(scene.place), VOCABULARY["weathers"].index(scene.weather)
    return pixels, there, place, weather, captions
