"""A sheet of spectrograms: of every source alone, or of scenes with their captions.

python -m demo_world.sounds.preview sheet.png --scenes 12 --split test
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from demo_world.preview_command import preview
from demo_world.sounds.render import render_part, render_sound
from demo_world.sounds.scene import SECONDS, Part
from demo_world.sounds.sources import SOURCES, Source
from demo_world.sounds.spectrogram import log_mel
from demo_world.sounds.world import scene_and_captions

RANGE = (-75.0, -5.0)  # decibels from black to white
WIDTH, HEIGHT = 250, 128  # pixels of a spectrogram
TAKES = 3  # of every source
ROW = HEIGHT + 20


def draw_spectrogram(wave: np.ndarray) -> Image.Image:
    """Time to the right, frequency upward, and decibels as brightness, relative to the loudest."""
    decibels = log_mel(wave)
    decibels = decibels - decibels.max()
    gray = np.clip((decibels - RANGE[0]) / (RANGE[1] - RANGE[0]), 0, 1)[::-1]
    return Image.fromarray((255 * gray).astype(np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BOX)


def alone(source: Source, seed: int) -> Part:
    """A part of one source: as often as it comes at most, or from the beginning to the end of a scene."""
    pitch = 2 ** np.random.default_rng(seed).uniform(-0.3, 0.3)
    count = source.most if source.counted else None
    return Part(source.name, count, 0.2 if count else 0.0, SECONDS, source.spacing, 0.0, pitch, seed)


def sheet_of_sources(seed: int = 0, columns: int = 2) -> Image.Image:
    """Takes of every source under its name."""
    cell = TAKES * (WIDTH + 4) + 8
    sheet = Image.new("RGB", (columns * cell, -(-len(SOURCES) // columns) * ROW), "white")
    draw = ImageDraw.Draw(sheet)
    for number, source in enumerate(SOURCES):
        x, y = number % columns * cell + 4, number // columns * ROW
        draw.text((x, y + 3), f"{source.name}: {' '.join(source.sayings[0][:2])}", fill="black")
        for take in range(TAKES):
            picture = draw_spectrogram(render_part(alone(source, seed + take)))
            sheet.paste(picture, (x + take * (WIDTH + 4), y + 16))
    return sheet


def sheet_of_scenes(seed: int, split: str, start: int, scenes: int, columns: int = 2) -> Image.Image:
    """Scenes start to start + scenes of a split, each beside its five captions."""
    cell = WIDTH + 560
    sheet = Image.new("RGB", (columns * cell, -(-scenes // columns) * ROW), "white")
    draw = ImageDraw.Draw(sheet)
    for number in range(scenes):
        scene, captions = scene_and_captions(seed, split, start + number)
        x, y = number % columns * cell + 4, number // columns * ROW + 4
        sheet.paste(draw_spectrogram(render_sound(scene)), (x, y))
        draw.multiline_text((x + WIDTH + 8, y), "\n".join(captions), fill="black", spacing=6)
    return sheet


def sheet(seed: int, split: str, start: int, scenes: int) -> Image.Image:
    """Scenes start to start + scenes of a split; every source alone where `scenes` is 0."""
    return sheet_of_scenes(seed, split, start, scenes) if scenes else sheet_of_sources(seed)


def main() -> None:
    """Write the sheet that the command line describes."""
    preview(sheet, __doc__, 0, "of so many scenes; 0: of every source alone")


if __name__ == "__main__":
    main()
