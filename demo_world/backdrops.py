"""Painted backdrops: sky, weather and ground of every place, in a few variants, cached.

Everything is drawn in units of a 96-pixel picture at three times its size and then reduced, which smooths the edges.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from demo_world.places import PLACES, WEATHERS
from demo_world.scene import REFERENCE

OVERSAMPLING = 3
RAIN_SLANT = -2 / 6.5  # sideways for each unit that a drop falls
SKY = {  # weather -> colors at the top and at the horizon
    "clear": ((122, 190, 240), (205, 232, 250)),
    "sunny": ((92, 176, 246), (214, 238, 252)),
    "cloudy": ((150, 166, 182), (200, 208, 214)),
    "rainy": ((104, 116, 132), (150, 160, 170)),
    "snowing": ((168, 180, 196), (214, 222, 230)),
    "night": ((14, 20, 52), (44, 56, 104)),
    "sunset": ((238, 120, 84), (253, 206, 120)),
}
LIGHT = {  # weather -> factors on the colors of the ground
    "clear": (1.0, 1.0, 1.0),
    "sunny": (1.06, 1.04, 0.98),
    "cloudy": (0.9, 0.91, 0.93),
    "rainy": (0.78, 0.82, 0.88),
    "snowing": (0.93, 0.96, 1.0),
    "night": (0.36, 0.4, 0.56),
    "sunset": (1.0, 0.88, 0.82),
}


class _Canvas:
    """A drawing surface in units of the reference picture, lit by the weather."""

    def __init__(self, size: int, weather: str):
        self.side = size * OVERSAMPLING
        self.unit = self.side / REFERENCE
        self.light = LIGHT[weather]
        self.image = Image.new("RGB", (self.side, self.side))
        self.draw = ImageDraw.Draw(self.image)

    def lit(self, color) -> tuple[int, ...]:
        return tuple(int(min(255, c * f)) for c, f in zip(color, self.light, strict=True))

    def scaled(self, points) -> list[tuple[float, float]]:
        return [(x * self.unit, y * self.unit) for x, y in points]

    def polygon(self, points, color) -> None:
        self.draw.polygon(self.scaled(points), fill=self.lit(color))

    def box(self, x0, y0, x1, y1, color, lit=True) -> None:
        if x1 > x0 and y1 > y0:
            self.draw.rectangle(self.scaled([(x0, y0), (x1, y1)]), fill=self.lit(color) if lit else color)

    def ellipse(self, x, y, rx, ry, color, lit=True) -> None:
        self.draw.ellipse(self.scaled([(x - rx, y - ry), (x + rx, y + ry)]), fill=self.lit(color) if lit else color)

    def gradient(self, y0, y1, top, bottom) -> None:
        first, last = round(y0 * self.unit), round(y1 * self.unit)
        for row in range(first, last):
            t = (row - first) / max(last - first - 1, 1)
            self.draw.line(
                [(0, row), (self.side, row)],
                fill=tuple(round(a + (b - a) * t) for a, b in zip(top, bottom, strict=True)),
            )

    def ground(self, y0, top, bottom, y1=REFERENCE) -> None:
        self.gradient(y0, y1, self.lit(top), self.lit(bottom))

    def ridge(self, rng, base, low, high, step, color) -> None:
        """A skyline from `base` upwards, between `low` and `high` units tall."""
        xs = np.arange(-step, REFERENCE + 2 * step, step) + rng.uniform(-step / 2, step / 2)
        tops = [(x, base - rng.uniform(low, high)) for x in xs]
        self.polygon([(-20, base + 1), *tops, (REFERENCE + 20, base + 1)], color)


def _cloud(canvas: _Canvas, rng: np.random.Generator, x: float, y: float, color) -> None:
    for dx, dy, r in ((-6, 1, 4), (0, -1.5, 5.5), (6, 1, 4), (0, 2, 4.5)):
        canvas.ellipse(x + dx + rng.uniform(-1, 1), y + dy, r * 1.25, r * 0.8, color, lit=False)


def _sky(canvas: _Canvas, rng: np.random.Generator, weather: str, variant: int, horizon: float) -> None:
    canvas.gradient(0, horizon + 1, *SKY[weather])
    side = rng.uniform(76, 86) if variant % 2 else rng.uniform(10, 20)  # the scene keeps flying things away
    if weather == "sunny":
        for k in range(10):
            angle = 2 * np.pi * k / 10
            dx, dy = np.cos(angle), np.sin(angle)
            canvas.draw.line(
                canvas.scaled([(side + dx * 9, 12 + dy * 9), (side + dx * 12.5, 12 + dy * 12.5)]),
                fill=(255, 214, 64),
                width=max(1, round(1.4 * canvas.unit)),
            )
        canvas.ellipse(side, 12, 7.5, 7.5, (255, 214, 64), lit=False)
    elif weather == "clear":
        for _ in range(int(rng.integers(0, 2))):
            _cloud(canvas, rng, rng.uniform(12, 84), rng.uniform(7, 16), (246, 250, 253))
    elif weather == "cloudy":
        for k in range(4):
            _cloud(canvas, rng, 10 + 25 * k + rng.uniform(-7, 7), rng.uniform(5, 17), (232, 235, 238))
    elif weather in ("rainy", "snowing"):
        color = (84, 94, 108) if weather == "rainy" else (224, 230, 236)
        for k in range(4):
            _cloud(canvas, rng, 8 + 27 * k + rng.uniform(-5, 5), rng.uniform(2, 8), color)
    elif weather == "night":
        for _ in range(26):
            x, y, r = rng.uniform(2, 94), rng.uniform(2, max(horizon - 3, 12)), rng.uniform(0.35, 0.75)
            canvas.ellipse(x, y, r, r, (250, 248, 220), lit=False)
        canvas.ellipse(side, 12, 7, 7, (250, 244, 206), lit=False)
        canvas.ellipse(side + 3.2, 10.4, 6, 6, SKY["night"][0], lit=False)
    elif weather == "sunset":
        canvas.ellipse(side, horizon - 1, 10, 10, (255, 236, 150), lit=False)


def _beach(canvas: _Canvas, rng: np.random.Generator) -> None:
    sea, sand = 44 + rng.uniform(-2, 2), 66 + rng.uniform(-2, 2)
    canvas.ground(sea, (62, 152, 208), (112, 200, 226), sand)
    shade = rng.uniform(0.96, 1.03)
    canvas.ground(sand, tuple(c * shade for c in (244, 224, 172)), tuple(c * shade for c in (232, 204, 146)))
    for k in range(9):
        canvas.ellipse(k * 12 + rng.uniform(-2, 2), sand, 8, 1.6, (240, 248, 250))
    for _ in range(6):
        x, y = rng.uniform(0, 92), rng.uniform(sea + 3, sand - 4)
        canvas.box(x, y, x + 7, y + 0.7, (170, 220, 238))


def _forest(canvas: _Canvas, rng: np.random.Generator) -> None:
    horizon = 60.0
    canvas.box(-1, 40, 97, 66, (40, 84, 52))
    for depth, (green, trunk) in enumerate((((74, 128, 82), (96, 76, 58)), ((48, 104, 60), (86, 62, 44)))):
        foot = horizon + 2 + 4 * depth
        for x in np.arange(-4, 104, 13 - 2 * depth) + rng.uniform(-4, 4):
            x, top = x + rng.uniform(-2, 2), rng.uniform(19, 27) + 6 * depth
            canvas.box(x - 1.2, foot - 16, x + 1.2, foot, trunk)
            for k in range(3):
                y, w = top + k * (foot - 12 - top) / 3.4, 5.5 + 2.2 * k
                canvas.polygon([(x, y), (x - w, y + 15), (x + w, y + 15)], green)
    canvas.ground(horizon + 3, (96, 130, 62), (82, 108, 50))
    for _ in range(14):
        x, y = rng.uniform(0, 96), rng.uniform(66, 95)
        canvas.ellipse(x, y, 2.6, 0.9, (120, 96, 56))


def _city(canvas: _Canvas, rng: np.random.Generator) -> None:
    horizon, x = 62.0, -6.0
    walls = ((168, 150, 146), (128, 140, 160), (190, 164, 132), (150, 120, 110), (112, 122, 132))
    dark = canvas.light[0] < 0.5
    while x < REFERENCE:
        width, top = rng.uniform(13, 22), rng.uniform(22, 40)
        canvas.box(x, top, x + width - 0.8, horizon, walls[int(rng.integers(len(walls)))])
        for wx in np.arange(x + 2.5, x + width - 4, 4.6):
            for wy in np.arange(top + 3, horizon - 6, 6.4):
                lamp = dark and rng.random() < 0.45
                canvas.box(wx, wy, wx + 2.2, wy + 3.2, (250, 222, 120) if lamp else (206, 224, 236), lit=not lamp)
        x += width
    canvas.ground(horizon, (190, 190, 188), (176, 176, 174), 72)
    canvas.ground(72, (112, 114, 120), (96, 98, 104))
    for k in range(5):
        canvas.box(k * 23 + 3, 82.5, k * 23 + 14, 84, (240, 236, 214))


def _desert(canvas: _Canvas, rng: np.random.Generator) -> None:
    horizon = 54 + rng.uniform(-3, 3)
    canvas.ridge(rng, horizon + 4, 4, 15, 26, (226, 178, 108))
    canvas.ground(horizon + 4, (238, 196, 124), (222, 168, 92))
    for _ in range(4):
        x, y = rng.uniform(0, 96), rng.uniform(66, 94)
        canvas.ellipse(x, y, rng.uniform(12, 22), 1.3, (212, 158, 86))


def _snow(canvas: _Canvas, rng: np.random.Generator) -> None:
    horizon = 52 + rng.uniform(-3, 3)
    canvas.ridge(rng, horizon + 3, 2, 10, 22, (206, 220, 236))
    canvas.ground(horizon + 3, (240, 246, 252), (216, 228, 242))
    for _ in range(5):
        x, y = rng.uniform(0, 96), rng.uniform(62, 94)
        canvas.ellipse(x, y, rng.uniform(9, 18), 1.6, (204, 218, 236))


def _meadow(canvas: _Canvas, rng: np.random.Generator) -> None:
    horizon = 54 + rng.uniform(-3, 3)
    canvas.ridge(rng, horizon + 4, 3, 11, 24, (124, 182, 84))
    canvas.ground(horizon + 4, (142, 200, 92), (106, 172, 66))
    blossom = ((252, 246, 236), (250, 226, 110), (236, 150, 178))[int(rng.integers(3))]
    for _ in range(16):
        x, y = rng.uniform(0, 96), rng.uniform(64, 95)
        canvas.polygon([(x - 1, y), (x, y - 3), (x + 1, y)], (84, 144, 54))
    for _ in range(12):
        canvas.ellipse(rng.uniform(0, 96), rng.uniform(64, 95), 0.8, 0.8, blossom)


def _lake(canvas: _Canvas, rng: np.random.Generator) -> None:
    horizon = 42 + rng.uniform(-2, 2)
    canvas.ridge(rng, horizon + 1, 5, 14, 18, (92, 140, 104))
    canvas.ground(horizon, (88, 158, 206), (60, 126, 186), 72)
    for _ in range(12):
        x, y = rng.uniform(0, 90), rng.uniform(horizon + 3, 70)
        canvas.box(x, y, x + rng.uniform(4, 10), y + 0.7, (150, 202, 230))
    canvas.polygon(
        [(-1, 67 + rng.uniform(0, 2)), (30, 65), (66, 67 + rng.uniform(0, 2)), (97, 65), (97, 97), (-1, 97)],
        (128, 176, 92),
    )
    for k in range(5):
        x = (2, 6, 86, 90, 94)[k] + rng.uniform(-1, 1)
        canvas.box(x, 60 + rng.uniform(-4, 2), x + 0.9, 74, (96, 132, 60))


def _underwater(canvas: _Canvas, rng: np.random.Generator) -> None:
    canvas.gradient(0, 97, (128, 208, 226), (32, 104, 160))
    for _ in range(4):
        x = rng.uniform(0, 96)
        canvas.polygon([(x, 0), (x + 6, 0), (x + 2, 70), (x - 16, 70)], (136, 210, 226))
    canvas.gradient(30, 97, (76, 164, 200), (32, 104, 160))
    canvas.ridge(rng, 97, 7, 13, 15, (214, 194, 146))
    for _ in range(4):
        x = float(rng.choice((rng.uniform(2, 14), rng.uniform(82, 94))))
        points = [(x + 1.6 * np.sin(k), 94 - 4.2 * k) for k in range(7)]
        canvas.draw.line(canvas.scaled(points), fill=(52, 138, 88), width=round(2 * canvas.unit))
    for _ in range(8):
        canvas.ellipse(rng.uniform(3, 93), rng.uniform(4, 70), 1.1, 1.1, (204, 236, 244))


def _farm(canvas: _Canvas, rng: np.random.Generator) -> None:
    horizon = 54 + rng.uniform(-2, 2)
    canvas.ridge(rng, horizon + 3, 2, 6, 30, (150, 180, 92))
    canvas.ground(horizon + 2, (178, 186, 98), (150, 158, 76))
    for k in range(7):
        canvas.polygon(
            [(30 + 6 * k, horizon + 3), (31.5 + 6 * k, horizon + 3), (-44 + 31 * k, 97), (-52 + 31 * k, 97)],
            (134, 142, 66),
        )
    x = float(rng.choice((rng.uniform(2, 10), rng.uniform(58, 66))))
    canvas.box(x, horizon - 20, x + 28, horizon + 7, (182, 58, 48))
    canvas.polygon(
        [(x - 3, horizon - 19), (x + 5, horizon - 30), (x + 23, horizon - 30), (x + 31, horizon - 19)], (110, 62, 54)
    )
    canvas.box(x + 9, horizon - 9, x + 19, horizon + 7, (238, 230, 220))
    canvas.box(x + 10.5, horizon - 7.5, x + 17.5, horizon + 7, (146, 44, 38))
    for k in range(12):
        canvas.box(k * 9 - 2, horizon + 6, k * 9 - 0.4, horizon + 15, (236, 226, 206))
    for y in (horizon + 8, horizon + 11.5):
        canvas.box(-1, y, 97, y + 1.2, (236, 226, 206))


def _mountains(canvas: _Canvas, rng: np.random.Generator) -> None:
    horizon = 60.0
    for x, top in ((10, 28), (84, 27), (46, 12)):
        x, top = x + rng.uniform(-6, 6), top + rng.uniform(-3, 5)
        reach = (horizon - top) * 0.86
        canvas.polygon([(x - reach, horizon + 2), (x, top), (x + reach, horizon + 2)], (132, 134, 150))
        canvas.polygon([(x, top), (x + reach, horizon + 2), (x + reach * 0.2, horizon + 2)], (110, 112, 130))
        cap = 11
        canvas.polygon(
            [
                (x, top),
                (x - cap * 0.86, top + cap),
                (x - 3, top + cap - 3),
                (x, top + cap + 2),
                (x + 4, top + cap - 3),
                (x + cap * 0.86, top + cap),
            ],
            (244, 248, 252),
        )
    canvas.ground(horizon + 1, (152, 160, 110), (128, 132, 92))
    for _ in range(9):
        x, y, r = rng.uniform(0, 96), rng.uniform(66, 95), rng.uniform(1.2, 2.8)
        canvas.ellipse(x, y, r * 1.5, r * 0.8, (142, 140, 136))


_PAINTERS = {  # place -> what paints it, and its horizon
    "beach": (_beach, 44),
    "forest": (_forest, 62),
    "city": (_city, 62),
    "desert": (_desert, 56),
    "snow": (_snow, 54),
    "meadow": (_meadow, 56),
    "lake": (_lake, 43),
    "underwater": (_underwater, 0),
    "farm": (_farm, 55),
    "mountains": (_mountains, 61),
}


def _rng(place: str, weather: str, variant: int) -> np.random.Generator:
    places, weathers = [p.name for p in PLACES], [w.name for w in WEATHERS]
    return np.random.default_rng([9620, places.index(place), weathers.index(weather), variant])


@lru_cache(maxsize=1024)
def backdrop(place: str, weather: str, variant: int, size: int) -> Image.Image:
    """The empty place, an RGB image of size x size pixels. Do not draw on it: it is shared."""
    rng = _rng(place, weather, variant)
    canvas = _Canvas(size, weather)
    paint, horizon = _PAINTERS[place]
    _sky(canvas, rng, weather, variant, horizon)
    paint(canvas, rng)
    return canvas.image.resize((size, size), Image.Resampling.BOX)


@lru_cache(maxsize=256)
def precipitation(weather: str, variant: int, size: int) -> Image.Image | None:
    """What falls before everything else: an RGBA image of rain or snow, or None."""
    if weather not in ("rainy", "snowing"):
        return None
    rng = np.random.default_rng([9621, variant, weather == "rainy"])
    side = size * OVERSAMPLING
    unit = side / REFERENCE
    image = Image.new("RGBA", (side, side), (226, 236, 250, 0) if weather == "rainy" else (255, 255, 255, 0))
    draw = ImageDraw.Draw(image)
    for _ in range(46 if weather == "rainy" else 80):
        x, y = rng.uniform(0, 98) * unit, rng.uniform(0, 96) * unit
        if weather == "rainy":
            draw.line([(x, y), (x - 2 * unit, y + 6.5 * unit)], fill=(226, 236, 250, 190), width=round(0.7 * unit))
        else:
            r = rng.uniform(0.8, 1.5) * unit
            draw.ellipse([x - r, y - r, x + r, y + r], fill=(255, 255, 255, 235))
    return image.resize((size, size), Image.Resampling.BOX)
