"""Draws figures/strip.png: four test scenes with the captions that the demo's memory_bridge decoder wrote.

python scripts/demo.py 'methods=[memory_bridge]' && python figures/strip.py
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from demo_world.render import render  # noqa: E402
from demo_world.world import scene_and_captions  # noqa: E402

SCENES = (14, 9, 30, 13)  # of the test split
SIDE, GAP, TEXT = 384, 16, 76  # pixels


def main() -> None:
    """Write `figures/strip.png`."""
    predictions = json.loads((ROOT / "outputs/evaluation/demo_memory_bridge_seed0_test/predictions.json").read_text())
    captions = {entry["image_id"]: entry["caption"] for entry in predictions}
    strip = Image.new("RGB", (len(SCENES) * (SIDE + GAP) - GAP, SIDE + TEXT), "white")
    draw = ImageDraw.Draw(strip)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 23)
    for column, number in enumerate(SCENES):
        left = column * (SIDE + GAP)
        scene, _ = scene_and_captions(0, "test", number)
        strip.paste(Image.fromarray(render(scene, SIDE)), (left, 0))
        caption = "\n".join(textwrap.wrap(captions[f"test_{number:06d}"], 30))
        draw.multiline_text((left + SIDE / 2, SIDE + 8), caption, "black", font, anchor="ma", align="center", spacing=4)
    strip.quantize(256).save(ROOT / "figures/strip.png", optimize=True)


if __name__ == "__main__":
    main()
