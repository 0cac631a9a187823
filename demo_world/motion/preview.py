"""A contact sheet of film strips with their captions.

python -m demo_world.motion.preview sheet.png --scenes 12 --split test
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from demo_world.motion.render import FRAMES, render_frames
from demo_world.motion.world import scene_and_captions
from demo_world.render import IMAGE_SIZE
from demo_world.sprites import LICENSE
from demo_world.write_world import SPLITS

CELL = (FRAMES * (IMAGE_SIZE + 2) + 480, 104)  # pixels


def contact_sheet(seed: int, split: str, start: int, scenes: int) -> Image.Image:
    """Scenes start to start + scenes of a split, each a row of frames and its captions, over the license line."""
    sheet = Image.new("RGB", (CELL[0], scenes * CELL[1] + 24), "white")
    draw = ImageDraw.Draw(sheet)
    for number in range(scenes):
        scene, captions = scene_and_captions(seed, split, start + number)
        top = number * CELL[1] + 4
        for column, picture in enumerate(render_frames(scene)):
            sheet.paste(Image.fromarray(picture), (4 + column * (IMAGE_SIZE + 2), top))
        text = "\n".join([str(scene.motion), *captions])
        draw.multiline_text((FRAMES * (IMAGE_SIZE + 2) + 12, top), text, fill="black", spacing=4)
    draw.text((4, scenes * CELL[1] + 6), LICENSE, fill="black")
    return sheet


def main() -> None:
    """Write the sheet that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="the PNG to write")
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--split", choices=sorted(SPLITS), default="test")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    contact_sheet(options.seed, options.split, options.start, options.scenes).save(options.path)


if __name__ == "__main__":
    main()
