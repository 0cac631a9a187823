"""Pictures from sentences, by one or more generators and guidance scales.

The work behind `scripts/generate_images.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from common.characters import whole_characters
from common.config import drop_nulls
from common.files import whole_file, write_json, write_whole
from common.provenance import run_facts
from embedding_space.encoders.base import Encoder
from evaluation.pictures.generated import LIST, TEXT_KEY
from image_generation.candidates import BestOf
from image_generation.contact_sheet import labeled_grid
from image_generation.picture_files import save_picture
from image_generation.sources import PictureSource, make_sources

GRID = "grid.png"
EXAMPLE = 'python scripts/generate_images.py "two balloons above a farm at sunset"'


@dataclass(frozen=True)
class DrawnFile:
    """One picture of `images.json`.

    Attributes:
        file: its name in the folder.
        sentence: what it was drawn from.
        generator: the method's name.
        guidance: its scale; None: the decoder's own.
        seed: of its noise, or of the noise of its candidates.
        cosine: of its embedding, by the generator's encoder, to the one that it was drawn from.
        known_words: False where the encoder does not know a word of the sentence.
        candidates: how many were drawn, of which it is the one with the highest cosine.
        noise_seed: that draws this one alone; None where it is `seed`, since there was one candidate.
    """

    file: str
    sentence: str
    generator: str
    guidance: float | None
    seed: int
    cosine: float | None = None
    known_words: bool = True
    candidates: int = 1
    noise_seed: int | None = None


def generate(config: DictConfig, sentences: Sequence[str]) -> list[DrawnFile]:
    """Write a picture for each sentence, seed, generator and guidance, `images.json` and `grid.png`.

    Raises:
        ValueError: there are no sentences, or an empty one; or files of others are in the way.
        FileNotFoundError: weights are missing.
    """
    sentences = checked_sentences(sentences)
    guidances: list[float | None] = [None] if config.guidance_scales is None else list(config.guidance_scales)
    if config.pictures < 1 or not guidances:
        option = f"pictures={config.pictures}" if config.pictures < 1 else "guidance_scales=[]"
        raise ValueError(f"{option} leaves nothing to draw: give at least one")
    best_of = BestOf(config.candidates)
    sources = make_sources(config)
    output_dir = Path(config.output_dir)
    _refuse_files_of_others(output_dir, len(sources) * len(guidances) * len(sentences) * config.pictures)
    seeds = range(config.seed, config.seed + config.pictures)
    drawn: list[DrawnFile] = []
    columns: list[tuple[str, list[Image.Image]]] = []
    for source in sources:
        unknown = _report_words(source.encoder, sentences)
        rows = source.rows(sentences).repeat_interleave(len(seeds), dim=0)
        for guidance in guidances:
            draw = partial(source.draw, guidance=guidance)
            kept = best_of.draw(draw, source.cosines, rows, [*seeds] * len(sentences), source.batch_size)
            label = source.name if guidance is None else f"{source.name}, guidance {guidance:g}"
            columns.append((label, kept.pictures))
            wanted = [(sentence, seed) for sentence in sentences for seed in seeds]
            files = [
                DrawnFile(
                    _picture_name(number), sentence, source.name, guidance, seed, None, sentence not in unknown,
                    **best_of.picture_facts(noise_seed),
                )
                for number, ((sentence, seed), noise_seed) in enumerate(
                    zip(wanted, kept.noise_seeds, strict=True), len(drawn)
                )
            ]  # fmt: skip
            drawn += _with_cosines(source, output_dir, files, kept.pictures, rows)
    labels = [sentence for sentence in sentences for _ in seeds]
    with whole_file(output_dir / GRID) as temporary:
        labeled_grid(columns, labels).save(temporary, format="PNG")
    write_whole(output_dir / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    write_json(
        output_dir / LIST,
        {
            **run_facts(),
            "generators": {source.name: source.facts() for source in sources},
            "encoders": {source.name: source.encoder.description for source in sources},
            "uses_pairs": any(source.uses_pairs for source in sources),
            **best_of.facts(),
            "images": [asdict(each) for each in drawn],
        },
        ensure_ascii=False,
    )
    for each in drawn:
        print(f"{output_dir / each.file}: {each.sentence} (cosine to the requested embedding: {each.cosine:.3f})")
    print(f"All of them in one picture: {output_dir / GRID}")
    return drawn


def _refuse_files_of_others(folder: Path, count: int) -> None:
    """Refuse to replace files that are not of an earlier run. An interrupted one has no list of its pictures yet."""
    names = ("config.yaml", GRID, *(_picture_name(number) for number in range(count)))
    there = [name for name in names if (folder / name).exists()]
    if there and not (folder / LIST).is_file() and not _was_drawn(folder / _picture_name(0)):
        raise ValueError(
            f"{folder} holds {there[0]}, which this command did not write: name another folder with output_dir=..."
        )


def _was_drawn(path: Path) -> bool:
    """Whether this is a picture with its sentence in it, as `generate` writes them."""
    try:
        with Image.open(path) as picture:
            return TEXT_KEY in picture.info
    except OSError:  # there is none, or it is no picture
        return False


def _picture_name(number: int) -> str:
    return f"{number:03d}.png"


def checked_sentences(sentences: Sequence[str]) -> list[str]:
    """The sentences, without half characters. Raises ValueError where there are none or one is empty."""
    if not sentences:
        raise ValueError(f"Give at least one sentence: {EXAMPLE}")
    for number, sentence in enumerate(sentences, 1):
        if not sentence.strip():
            raise ValueError(f"Sentence {number} of {len(sentences)} is empty: {EXAMPLE}")
    return [whole_characters(sentence) for sentence in sentences]


def _report_words(encoder: Encoder, sentences: Sequence[str]) -> set[str]:
    """Say which words cannot be drawn; returns the sentences that have some."""
    encoder.warn_of_cut(sentences, "sentences")
    unknown = {sentence: words for sentence in sentences if (words := encoder.unknown_words(sentence))}
    for sentence, words in unknown.items():
        listed = ", ".join(f"'{word}'" for word in words)
        name = encoder.description["name"]
        print(f"The encoder {name} does not know {listed}: {sentence!r} is drawn without", file=sys.stderr)
    return set(unknown)


def _with_cosines(
    source: PictureSource, folder: Path, files: list[DrawnFile], pictures: list[Image.Image], rows: torch.Tensor
) -> list[DrawnFile]:
    """Save the pictures, each with its sentence and origin in its metadata, and measure them."""
    for each, picture in zip(files, pictures, strict=True):
        facts = {TEXT_KEY: each.sentence, "generator": each.generator, "seed": each.seed, "guidance": each.guidance}
        if each.noise_seed is not None:
            facts |= {"candidates": each.candidates, "noise_seed": each.noise_seed}
        save_picture(picture, folder / each.file, drop_nulls(facts))
    cosines = source.cosines(pictures, rows).tolist()
    return [DrawnFile(**{**asdict(each), "cosine": cosine}) for each, cosine in zip(files, cosines, strict=True)]
