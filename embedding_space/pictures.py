"""Opening picture files, the same way wherever a picture is encoded, trained on or shown."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from common.warn import warn_once
from embedding_space.media import Packed

PHOTOMETRIC, BITS, SAMPLE_FORMAT = 262, 258, 339  # tags of TIFF
SIGNED, WHITE_IS_ZERO = 2, 0
SCALED_BY_PILLOW = ("PPM", "JPEG2000")  # whatever their range was, to that of 16 bits
REMEDY = "save it with 8 bits per channel"


def open_picture(path: str | Path | Packed) -> Image.Image:
    """A whole picture as RGB with 8 bits per channel, rotated the way its camera was held.

    Transparent parts are put over white. Of an animation or of several pages, the first is read. CMYK becomes RGB
    without its color profile. Values are scaled by the range of the file's numbers: 16 bits are 0 to 65,535 and
    floating-point numbers 0 to 1. A gray picture of 16 or 32 bits without values above 4,095 (255) is read as one of 12
    bits (8 bits), as cameras and scanners store it, with a warning.

    Raises:
        ValueError: the file is no picture, is cut off or far too large, or its numbers have no known range.
        FileNotFoundError: there is no such file.
    """
    try:
        with Image.open(BytesIO(path.content) if isinstance(path, Packed) else path) as opened:
            deep = any(";16" in str(tile) for tile in getattr(opened, "tile", ()))  # Pillow keeps the upper 8 bits
            opened.load()
            picture = _upright(opened)
            if picture.mode == "F" or picture.mode.startswith("I"):
                return _from_deep_gray(picture, opened)
            if deep and 0 < (high := np.asarray(picture.convert("RGB")).max()) < 64:
                how, bits = ("almost black", 12) if high < 16 else ("dark", 14)
                alike = f"as one of {bits} bits in 16 is"
                warn_once(f"A color picture of 16 bits is {how}, {alike}; if it should not be, {REMEDY}")
            if picture.mode in ("RGBA", "LA", "PA", "P", "RGBa", "La") or "transparency" in picture.info:
                picture = picture.convert("LA") if picture.mode == "La" else picture
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            return picture.convert("RGB")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no picture {path}") from error
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{path} cannot be read as a picture: Pillow knows no such format, or not this variant of it"
        ) from error
    except Exception as error:  # a damaged file makes the decoders fail in any way
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} cannot be read as a picture: {reason}") from error


def _upright(opened: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(opened)
    except Exception:  # damaged EXIF data, beside a sound picture
        return opened.copy()


def _from_deep_gray(picture: Image.Image, opened: Image.Image) -> Image.Image:
    """A gray picture of more than 8 bits as RGB; `opened` is the file, which knows its own range."""
    values, tags = np.asarray(picture), getattr(opened, "tag_v2", {})
    if values.dtype.kind == "f":
        gray = _from_floats(values)
    else:
        gray = _from_integers(values.astype(np.int64), opened, tags)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow turns those of 8 bits alone
        gray = 255 - gray
    key = picture.info.get("transparency")
    if isinstance(key, int):
        gray = np.where(values == key, 255, gray)
    return Image.fromarray(gray.astype(np.uint8)).convert("RGB")


def _from_floats(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 1):  # NaN neither
        raise ValueError(
            f"its floating-point values run from {low:g} to {high:g}, and only 0 to 1 has a known meaning: "
            f"{REMEDY}, or divide the values by the one that stands for white"
        )
    return np.rint(255 * values)


def _from_integers(values: np.ndarray, opened: Image.Image, tags: Mapping) -> np.ndarray:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65_535:
        raise ValueError(
            f"its values run from {low:,} to {high:,}, and nothing tells which of them are black and white: {REMEDY}"
        )
    bits = tags.get(BITS, (16,))[0]
    if bits < 16:  # TIFF has 12, too
        return values >> (bits - 8)
    if 4_095 < high < 16_384 and opened.format not in SCALED_BY_PILLOW:
        warn_once(f"A gray picture of 16 bits is dark, as one of 14 bits in 16 is; if it should not be, {REMEDY}")
    if high > 4_095 or opened.format in SCALED_BY_PILLOW:
        return values >> (7 if bits == 16 and tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED else 8)
    used = 8 if high <= 255 else 12
    if high:
        warn_once(
            f"Gray pictures of more than 8 bits without a value above {2**used - 1:,} are read as pictures of {used} "
            f"bits; if one of them is just dark, {REMEDY}"
        )
    return values >> (used - 8)
