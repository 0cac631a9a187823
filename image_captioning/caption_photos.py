"""Caption pictures, sounds or videos, which are files or folders.

The work behind `scripts/caption.py`.
"""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from common.config import drop_nulls
from embedding_space.encoders.base import EncodedImages, Encoder
from embedding_space.encoders.load import reload_encoder
from embedding_space.media import NAMES, Medium, has_medium, medium_of
from embedding_space.sources.files import kind_of, visible_files
from image_captioning.captioner import Captioner
from image_captioning.captioning_model import CaptioningModel
from image_captioning.consensus import ConsensusMemory
from image_captioning.generation import Decoding
from image_captioning.inference_inputs import named_training_source
from image_captioning.memory_captions import consensus_memory

FILES_AT_ONCE = 1024  # whose patches are kept in memory
SHOWN = 3  # names of files that are left out
NOTHING = "Nothing to caption: give files or folders, as in python scripts/caption.py photo.jpg"


def find_files(paths: list[Path], medium: Medium) -> tuple[list[Path], dict[str, list[Path]]]:
    """The files of a medium among these, and in and below these folders, sorted by name.

    A file that is named itself and whose ending says no medium is tried: it is one of them. Hidden files in folders are
    passed over.

    Returns:
        Those files, and all others by their kind, {"sounds": ...}.
    """
    files: list[Path] = []
    others: dict[str, list[Path]] = {}
    for path in paths:
        for file in visible_files(path) if path.is_dir() else [path]:
            if has_medium(file, medium) or (medium_of(file) is None and not path.is_dir()):
                files.append(file)
            else:
                others.setdefault(kind_of(file), []).append(file)
    return files, others


def report_others(kind: str, count: int, which: str, encoder: Encoder) -> None:
    """Say that files were left out.

    Args:
        kind: of `find_files`.
        which: of that kind, or where they are.
    """
    counted = kind if count > 1 else kind.removesuffix("s")
    reads = f"the encoder {encoder.description['name']} reads {NAMES[encoder.medium]}"
    print(f"Left out: {count:,} {counted} {which}, for {reads}", file=sys.stderr)


def keep_earlier(output_dir: Path, content: bytes) -> None:
    """Rename what another run, or somebody, wrote under the names of this run's files, and say so.

    Args:
        content: of the new captions.json; where an equal one is, it is this run again.
    """
    path = output_dir / "captions.json"
    if not path.is_file() or path.read_bytes() != content:
        set_aside([path, output_dir / "captions.csv", output_dir / "config.yaml"])


def set_aside(paths: Sequence[Path]) -> None:
    """Rename those of the files that are there, such as captions.json and config.yaml to captions_1.json and
    config_1.yaml, with one number for all, and say so."""

    def numbered(path: Path, number: int) -> Path:
        return path.with_name(f"{path.stem}_{number}{path.suffix}")

    if not (there := [path for path in paths if path.is_file()]):
        return
    number = next(n for n in itertools.count(1) if not any(numbered(path, n).exists() for path in paths))
    for path in there:
        path.rename(numbered(path, number))
    names, kept = (" and ".join(path.name for path in some) for some in (there, [numbered(p, number) for p in there]))
    print(f"{there[0].parent} held {names} already: kept as {kept}", file=sys.stderr)


def encode_in_parts(encoder: Encoder, files: list[Path], patches: bool) -> Iterator[tuple[int, EncodedImages]]:
    """The encoded files, `FILES_AT_ONCE` at a time, each part with the position of its first one."""
    starts = range(0, len(files), FILES_AT_ONCE)
    parts = [range(start, min(start + FILES_AT_ONCE, len(files))) for start in starts]
    medium = encoder.medium
    with tqdm(total=len(files), desc=f"encode {medium}s", unit=medium, disable=len(files) == 1) as bar:
        encoded = encoder.encode_image_shards(files, parts, patches, done=bar.update)
        yield from zip(starts, encoded, strict=True)


class FileCaptioner:
    """A captioner with its encoder and the options of `configs/caption.yaml`: encoded files -> captions.

    Args:
        load: makes the captioner of `checkpoint`.

    Raises:
        ValueError: options that do not fit each other or the captioner; and as `load` and `reload_encoder`.
    """

    def __init__(self, config: DictConfig, load: Callable[[str], CaptioningModel]):
        self.config, self.decoding = config, Decoding(**config.decoding)
        self.captioner = load(config.checkpoint)
        description = self.captioner.image_encoder_description
        self.encoder = reload_encoder(description, **drop_nulls(config.encoder))
        self.captioner.to(self.encoder.device)
        self.memory: Callable[[], ConsensusMemory] | None = None
        named = config.training_store
        if self.decoding.consensus_weight:
            training = None if named is None else named_training_source(named, self.captioner)
            make = consensus_memory(self.captioner, training)
            self.memory = make and cache(make)
        elif named is not None:
            raise ValueError(
                f"training_store={named} does nothing without decoding=consensus: leave it out, or add that"
            )

    def __call__(self, encoded: EncodedImages, first_row: int, progress: bool = False) -> list[str]:
        """The captions of the files that could be read.

        Args:
            first_row: the number of the first file among all that are captioned, for nucleus sampling.
        """
        if not encoded.kept:
            return []
        inputs = self.captioner.encoded_inputs(encoded)
        reranker = self.captioner.reranker(encoded.rows, self.decoding, self.encoder, self.memory)
        options = (self.config.batch_size, progress, self.config.precision, reranker, first_row)
        return self.captioner.caption(inputs, self.decoding, *options)


def caption(
    config: DictConfig, paths: list[Path], load: Callable[[str], CaptioningModel] = Captioner.load
) -> dict[str, str]:
    """Caption all files that the checkpoint's encoder reads: print the captions, and write `captions.json` and
    `captions.csv`. Files of another medium, and those that cannot be read, are reported and left out.

    Args:
        paths: files and folders.
        load: makes the captioner of `checkpoint`.

    Returns:
        {path: caption}.

    Raises:
        ValueError: no file of the encoder's medium, or none that can be read.
    """
    if not paths:
        raise ValueError(NOTHING)
    write = FileCaptioner(config, load)
    captioner, encoder = write.captioner, write.encoder
    files, others = find_files(paths, encoder.medium)
    for kind, left_out in others.items():
        names = ", ".join(file.name for file in left_out[:SHOWN]) + (", ..." if len(left_out) > SHOWN else "")
        report_others(kind, len(left_out), f"({names})", encoder)
    if not files:
        raise ValueError(
            f"No {NAMES[encoder.medium]} in {', '.join(map(str, paths))}, and the encoder of "
            f"checkpoint={config.checkpoint}, {encoder.description['name']}, reads nothing else: give some, or another "
            "checkpoint"
        )
    captions: dict[str, str] = {}
    for start, encoded in encode_in_parts(encoder, files, captioner.reads_patches):
        for reason in encoded.reasons:
            print(f"Skipped: {reason}", file=sys.stderr)
        texts = write(encoded, start, progress=len(encoded.kept) > 1)
        captions |= {str(files[start + i]): text for i, text in zip(encoded.kept, texts, strict=True)}
    if not captions:
        raise ValueError(f"None of the {len(files)} {NAMES[encoder.medium]} can be read")
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
