"""Caption pictures, which are files or folders.

The work behind `scripts/caption.py`.
"""

from __future__ import annotations

import csv
import itertools
import json
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from PIL import Image

from common.config import drop_nulls
from embedding_space.encoders.load import reload_encoder
from image_captioning.captioner import Captioner
from image_captioning.generation import Decoding


def find_pictures(paths: list[Path]) -> list[Path]:
    """These files, and every picture in and below these folders, sorted by name."""
    endings = Image.registered_extensions()
    pictures = []
    for path in paths:
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in endings) if path.is_dir() else [path]
        pictures += inside
    return pictures


def keep_earlier(output_dir: Path, content: bytes) -> None:
    """Rename another run's captions.json and captions.csv to captions_1 ..., and say so.

    Args:
        content: of the new captions.json; an equal file is not kept.
    """
    names = ("captions.json", "captions.csv")
    path = output_dir / names[0]
    if not path.is_file() or path.read_bytes() == content:
        return
    number = next(n for n in itertools.count(1) if not (output_dir / f"captions_{n}.json").exists())
    for old in map(output_dir.joinpath, names):
        if old.is_file():
            old.rename(old.with_name(f"captions_{number}{old.suffix}"))
    print(f"The captions of an earlier run are kept as {output_dir / f'captions_{number}.json'}", file=sys.stderr)


def caption(config: DictConfig, paths: list[Path]) -> dict[str, str]:
    """Caption all readable pictures: print the captions, and write `captions.json` and `captions.csv`.

    Returns:
        {path: caption}.

    Raises:
        ValueError: no picture, or none that can be read.
    """
    pictures = find_pictures(paths)
    if not pictures:
        where = ", ".join(map(str, paths)) or "the arguments"
        raise ValueError(f"No pictures in {where}: give files or folders, as in python scripts/caption.py photo.jpg")
    captioner = Captioner.load(config.checkpoint)
    encoder = reload_encoder(captioner.image_encoder_description, **drop_nulls(config.encoder))
    captioner.to(encoder.device)
    rows, kept, unreadable = encoder.encode_readable_images(pictures, progress=len(pictures) > 1)
    for reason in unreadable:
        print(f"Skipped: {reason}", file=sys.stderr)
    if not kept:
        raise ValueError(f"None of the {len(pictures)} pictures can be read")
    decoding, progress = Decoding(**config.decoding), len(kept) > 1
    texts = captioner.caption_images(rows, decoding, config.batch_size, progress, config.precision, encoder)
    captions = {str(pictures[index]): text for index, text in zip(kept, texts, strict=True)}
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    # File names may have characters that UTF-8 lacks; JSON's escapes replace them.
    content = (json.dumps(captions, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
    keep_earlier(output_dir, content)
    (output_dir / "captions.json").write_bytes(content)
    with (output_dir / "captions.csv").open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file).writerows([("path", "caption"), *captions.items()])
    OmegaConf.save(config, output_dir / "config.yaml", resolve=True)
    for path, text in captions.items():
        print(f"{path}: {text}")
    return captions
