"""Opening picture files, the same way wherever a picture is encoded, trained on or shown."""

from __future__ import annotations

import struct
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError


def open_picture(path: str | Path) -> Image.Image:
    """A picture file, whole, as RGB: turned the way its camera was held, transparent parts over white.

    Raises ValueError for a file that is no picture, is cut off or far too large, FileNotFoundError when there is none.
    """
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode in ("RGBA", "LA", "PA", "P") or "transparency" in picture.info:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            return picture.convert("RGB")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no picture {path}") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} cannot be read as a picture: Pillow knows no such format") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as a picture: {error}") from error
