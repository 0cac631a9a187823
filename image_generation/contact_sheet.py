"""Many pictures in one."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

FONT_SIZE, LINE, MARGIN = 13, 16, 6  # pixels
LEAST_SIDE = 192  # smaller pictures are enlarged by a whole factor


def contact_sheet(pictures: Tensor, columns: int = 8, gap: int = 2) -> Image.Image:
    """Pictures (N, H, W, 3) uint8 in rows of `columns`, on white."""
    count, height, width, _ = pictures.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for number, picture in enumerate(pictures.numpy()):
        row, column = divmod(number, columns)
        sheet.paste(Image.fromarray(picture), (column * (width + gap), row * (height + gap)))
    return sheet


def labeled_grid(columns: Sequence[tuple[str, Sequence[Image.Image]]], labels: Sequence[str]) -> Image.Image:
    """Columns of pictures of one size, each under its name; a row's label is written below it.

    Args:
        columns: each one's name and pictures, one for every row.
        labels: of the rows.
    """
    width, height = columns[0][1][0].size
    scale = max(1, round(LEAST_SIDE / width))
    cell = (width * scale, height * scale)
    font = ImageFont.load_default(FONT_SIZE)
    lines = [wrapped(label, font, len(columns) * (cell[0] + MARGIN) - MARGIN) for label in labels]
    heads = [wrapped(name, font, cell[0]) for name, _ in columns]
    top = LINE * max(len(head) for head in heads) + MARGIN
    total = top + sum(cell[1] + LINE * len(line) + 2 * MARGIN for line in lines)
    sheet = Image.new("RGB", (len(columns) * (cell[0] + MARGIN) - MARGIN, total), "white")
    draw = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        draw.text((column * (cell[0] + MARGIN), 0), "\n".join(head), "black", font)
    y = top
    for row, line in enumerate(lines):
        for column, (_, pictures) in enumerate(columns):
            resized = pictures[row].resize(cell, Image.Resampling.NEAREST)
            sheet.paste(resized, (column * (cell[0] + MARGIN), y))
        draw.text((0, y + cell[1] + MARGIN), "\n".join(line), "black", font)
        y += cell[1] + LINE * len(line) + 2 * MARGIN
    return sheet


def wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """The text in lines that are at most `width` pixels long, where its words allow."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]
