"""A contact sheet of scenes with their captions.

python -m demo_world.preview sheet.png --scenes 24 --split test
"""

from __future__ import annotations

import textwrap

from PIL import Image, ImageDraw

from demo_world.preview_command import preview
from demo_world.render import IMAGE_SIZE, render
from demo_world.sprites import LICENSE
from demo_world.world import scene_and_captions

CELL = (470, 152)  # pixels


def contact_sheet(seed: int, split: str, start: int, scenes: int, columns: int = 3) -> Image.Image:
    """Scenes start to start + scenes of a split, each beside its five captions, over the license line."""
    rows = -(-scenes // columns)
    sheet = Image.new("RGB", (columns * CELL[0], rows * CELL[1] + 24), "white")
    draw = ImageDraw.Draw(sheet)
    for number in range(scenes):
        scene, captions = scene_and_captions(seed, split, start + number)
        x, y = number % columns * CELL[0], number // columns * CELL[1]
        picture = Image.fromarray(render(scene, IMAGE_SIZE)).resize((144, 144), Image.Resampling.LANCZOS)
        sheet.paste(picture, (x + 4, y + 4))
        text = "\n".join("\n  ".join(textwrap.wrap(caption, 52)) for caption in captions)
        draw.multiline_text((x + 154, y + 6), text, fill="black", spacing=2)
    draw.text((4, rows * CELL[1] + 6), LICENSE, fill="black")
    return sheet


def main() -> None:
    """Write the sheet that the command line describes."""
    preview(contact_sheet, __doc__, 24)


if __name__ == "__main__":
    main()
