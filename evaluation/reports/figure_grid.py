"""A grid of what was captioned with its captions, as one picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from evaluation.reports.example import Example
from evaluation.reports.plots import BLUE, GRAY, plain_text
from evaluation.reports.previews import shown

PIXELS = 400  # of the longer side of what is drawn


def save_figure_grid(path: str | Path, examples: Sequence[Example], columns: int = 3, dpi: int = 120) -> None:
    """A picture grid: each image, one reference in gray, and each method's caption.

    Of a video there are its frames, of a sound its spectrogram.

    Args:
        path: its ending is the format. For photographs, JPEG is a quarter of PNG's size.

    Raises:
        ValueError: no examples, or a picture that cannot be read.
        FileNotFoundError: a picture is missing.
    """
    if not examples:
        raise ValueError("there are no examples to draw")
    columns = min(columns, len(examples))
    rows = [examples[n : n + columns] for n in range(0, len(examples), columns)]
    texts = [[_caption_lines(example) for example in row] for row in rows]
    line, width, gap = 0.19, 3.1, 0.25  # inches
    heights = [max(len(lines) for lines in row) * line + 0.1 for row in texts]
    pictures = [[shown(example, PIXELS) for example in row] for row in rows]
    # A row of film strips is no higher than they are; of tall pictures it is as high as wide.
    tall = [width * min(1.0, max(picture.height / picture.width for picture in row)) for row in pictures]
    total = sum(heights) + sum(tall) + len(rows) * gap + gap
    figure = Figure(figsize=(columns * (width + gap) + gap, total), facecolor="white")
    full = figure.get_size_inches()
    top = total - gap
    for row, row_texts, height, side in zip(pictures, texts, heights, tall, strict=True):
        for n, (picture, lines) in enumerate(zip(row, row_texts, strict=True)):
            left = gap + n * (width + gap)
            plot = figure.add_axes((left / full[0], (top - side) / full[1], width / full[0], side / full[1]))
            plot.imshow(picture, interpolation="lanczos")
            plot.set_anchor("S")
            plot.axis("off")
            for k, (text, style) in enumerate(lines):
                y = top - side - 0.1 - (k + 0.7) * line
                figure.text(left / full[0], y / full[1], text, fontsize=9.5, va="baseline", **style)
        top -= side + height + gap
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)


def _caption_lines(example: Example) -> list[tuple[str, dict]]:
    wrapped: list[tuple[str, dict]] = []
    for reference in example.references[:1]:
        wrapped += [(text, {"color": GRAY, "style": "italic"}) for text in _wrap(reference)]
    for method, caption in example.captions.items():
        wrapped.append((plain_text(method), {"color": BLUE, "weight": "bold"}))
        wrapped += [(text, {"color": "black"}) for text in _wrap(caption or "(empty)")]
    return wrapped


def _wrap(text: str) -> list[str]:
    return [plain_text(line) for line in textwrap.wrap(text, 46, max_lines=4, placeholder=" …")]
