"""The command line of the previews of the demo worlds."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from demo_world.write_world import SPLITS


def preview(draw: Callable[[int, str, int, int], Image.Image], about: str | None, scenes: int, what: str = "") -> None:
    """Write the sheet that the command line describes.

    Args:
        draw: makes it of a seed, a split, the first scene and their number.
        about: what --help says.
        scenes: their number by default; `what` says what is meant by it.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("path", type=Path, help="the PNG to write")
    parser.add_argument("--scenes", type=int, default=scenes, help=what)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--split", choices=sorted(SPLITS), default="test")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw(options.seed, options.split, options.start, options.scenes).save(options.path)
