"""Caption pictures, which are files or folders.

The work behind `scripts/caption.py`.
"""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from PIL import Image
from tqdm import tqdm

from common.config import drop_nulls
from embedding_space.encoders.base import EncodedImages, Encoder
from embedding_space.encoders.load import reload_encoder
from image_captioning.captioner import Captioner
from image_captioning.captioning_model import CaptioningModel
from image_captioning.generation import Decoding

PICTURES_AT_ONCE = 1024  # whose patches are kept in memory


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


def encode_in_parts(encoder: Encoder, pictures: list[Path], patches: bool) -> Iterator[tuple[int, EncodedImages]]:
    """The encoded pictures, `PICTURES_AT_ONCE` at a time, each part with the position of its first one."""
    starts = range(0, len(pictures), PICTURES_AT_ONCE)
    parts = [range(start, min(start + PICTURES_AT_ONCE, len(pictures))) for start in starts]
    with tqdm(total=len(pictures), desc="encode images", unit="image", disable=len(pictures) == 1) as bar:
        encoded = encoder.encode_image_shards(pictures, parts, patches, done=bar.update)
        yield from zip(starts, encoded, strict=True)


def caption(
    config: DictConfig, paths: list[Path], load: Callable[[str], CaptioningModel] = Captioner.load
) -> dict[str, str]:
    """Caption all readable pictures: print the captions, and write `captions.json` and `captions.csv`.

    Args:
        load: makes the captioner of `checkpoint`.

    Returns:
        {path: caption}.

    Raises:
        ValueError: no picture, or none that can be read.
    """
    pictures = find_pictures(paths)
    if not pictures:
        where = ", ".join(map(str, paths)) or "the arguments"
        raise ValueError(f"No pictures in {where}: give files or folders, as in python scripts/caption.py photo.jpg")
    captioner = load(config.checkpoint)
    encoder = reload_encoder(captioner.image_encoder_description, **drop_nulls(config.encoder))
    captioner.to(encoder.device)
    captions, decoding = {}, Decoding(**config.decoding)
    for start, encoded in encode_in_parts(encoder, pictures, captioner.reads_patches):
        for reason in encoded.reasons:
            print(f"Skipped: {reason}", file=sys.stderr)
        if not encoded.kept:
            continue
        inputs = captioner.encoded_inputs(encoded)
        reranker = captioner.reranker(encoded.rows, encoder) if decoding.clip_weight else None
        progress = len(encoded.kept) > 1
        texts = captioner.caption(inputs, decoding, config.batch_size, progress, config.precision, reranker, start)
        captions |= {str(pictures[start + i]): text for i, text in zip(encoded.kept, texts, strict=True)}
    if not captions:
        raise ValueError(f"None of the {len(pictures)} pictures can be read")
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
