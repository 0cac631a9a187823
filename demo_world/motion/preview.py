"""A contact sheet of film strips with their captions.

python -m demo_world.motion.preview sheet.png --scenes 12 --split test
"""

from __future__ import annotations

from PIL import Image, ImageDraw

from demo_world.motion.render import FRAMES, render_frames
from demo_world.motion.world import scene_and_captions
from demo_world.preview_command import preview
from demo_world.render import IMAGE_SIZE
from demo_world.sprites import LICENSE

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
    preview(contact_sheet, __doc__, 12)


if __name__ == "__main__":
    main()
