"""Pictures of a split's captions by a trained generator, to be scored: C³'s protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from common.checks import Count, Whole, checked_dataclass
from common.files import file_sha256, write_json
from common.provenance import run_facts
from embedding_space.encoders.identity import describe_encoder, is_same_encoder
from embedding_space.encoders.load import reload_encoder
from embedding_space.store import EmbeddingStore
from evaluation.pictures.generated import LIST, TEXT_KEY
from image_generation.candidates import BestOf, cosines_to_rows
from image_generation.conditions import Conditions
from image_generation.flow import Sampling
from image_generation.generator import ImageGenerator
from image_generation.picture_files import save_picture

OWN, ONE = Conditions(), BestOf()
WORDS = {"candidates": "number of candidates"}  # for parts of the plan, in messages
PLAN = "plan.json"  # what is being drawn; it comes before the pictures, and images.json after them


@checked_dataclass("prompts.")
class Prompts:
    """Which captions of a split are drawn.

    C³ draws 50,000 pictures, each of a random caption of an image of the validation set, whose images are repeated.

    Attributes:
        split: of the captions.
        count: pictures; None for one of each image that has captions.
        seed: that chooses an image's caption, and of the first picture's noise.
    """

    split: str
    count: Count | None = None
    seed: Whole = 0

    def chosen(self, store: EmbeddingStore) -> np.ndarray:
        """(P,) int64: rows of the captions within `store.captions(split)`, image after image, again and again."""
        image_of = store.pairs(self.split)
        order = np.argsort(image_of, kind="stable")
        images, first, captions = np.unique(image_of[order], return_index=True, return_counts=True)
        count = len(images) if self.count is None else self.count
        image = np.arange(count) % len(images)
        return order[first[image] + np.random.default_rng(self.seed).integers(captions[image])]


def draw_split(
    generator: ImageGenerator,
    store: EmbeddingStore,
    prompts: Prompts,
    sampling: Sampling,
    folder: Path,
    precision: str = "auto",
    overwrite: bool = False,
    conditions: Conditions = OWN,
    best_of: BestOf = ONE,
) -> None:
    """Draw the captions into `folder`, going on where an earlier run stopped; `images.json` lists the pictures.

    Args:
        store: whose caption embeddings are drawn from, by the encoder that the generator was trained with.
        conditions: how they become what the generator reads.
        best_of: how many candidates are drawn for each picture; the generator's own encoder chooses.

    Raises:
        ValueError: the folder holds other pictures and `overwrite` is false, or the store is of another encoder.
    """
    if not is_same_encoder(generator.encoder_description, store.manifest.encoder):
        raise ValueError(
            f"The generator reads embeddings of {describe_encoder(generator.encoder_description)}, but {store.path} "
            f"holds those of {describe_encoder(store.manifest.encoder)}: choose the same encoder's store with store=..."
        )
    rows = prompts.chosen(store)
    plan = {
        "generator": _identity(generator),
        "store": store.hash,
        "prompts": asdict(prompts),
        "sampling": {name: value for name, value in asdict(sampling).items() if name != "batch_size"},
        **({"conditions": facts} if (facts := conditions.facts()) else {}),
        **best_of.facts(),
    }
    _open(folder, plan, overwrite)
    files = [f"{number:06d}.png" for number in range(len(rows))]
    missing = [number for number, file in enumerate(files) if not (folder / file).exists()]
    captions = store.captions(prompts.split)
    aligned = conditions.rows(generator, store, prompts.split, rows) if missing else torch.empty(0)
    encoder = cache(lambda: reload_encoder(generator.encoder_description))  # loaded where there is a choice

    def draw(rows: Tensor, seeds: Sequence[int]) -> list[Image.Image]:
        return [Image.fromarray(pixels) for pixels in generator.generate(rows, seeds, sampling, precision).numpy()]

    def fit(pictures: Sequence[Image.Image], rows: Tensor) -> Tensor:
        return cosines_to_rows(generator, encoder(), pictures, rows)

    at_once = best_of.pictures_at_once(sampling.batch_size)
    with tqdm(total=len(files), initial=len(files) - len(missing), desc="draw", unit="picture") as bar:
        for start in range(0, len(missing), at_once):
            part = missing[start : start + at_once]
            seeds = [prompts.seed + number for number in part]
            kept = best_of.draw(draw, fit, aligned[torch.tensor(part)], seeds, sampling.batch_size)
            for number, picture, noise_seed in zip(part, kept.pictures, kept.noise_seeds, strict=True):
                facts = {TEXT_KEY: captions[rows[number]], **best_of.picture_facts(noise_seed)}
                save_picture(picture, folder / files[number], facts)
            bar.update(len(part))
    tables = store.tables
    chosen = tables.captions.take(tables.caption_rows(prompts.split)[rows])
    image_ids = tables.images["image_id"].take(chosen["image_row"]).to_pylist()
    listed = zip(files, chosen["caption"].to_pylist(), chosen["caption_id"].to_pylist(), image_ids, strict=True)
    write_json(
        folder / LIST,
        {
            **run_facts(),
            **plan,
            **({"candidates_chosen_by": generator.encoder_description["name"]} if best_of.facts() else {}),
            "encoder": generator.encoder_description,
            "provenance": generator.provenance,
            "uses_pairs": conditions.uses_pairs(generator),
            "images": [
                {"file": file, "sentence": caption, "caption_id": caption_id, "image_id": image_id}
                for file, caption, caption_id, image_id in listed
            ],
        },
        ensure_ascii=False,
    )


def _open(folder: Path, plan: Mapping[str, Any], overwrite: bool) -> None:
    path = folder / PLAN
    before = json.loads(path.read_text()) if path.exists() else None
    if before == plan:
        return
    if before is not None and not overwrite:
        different = next(name for name in {**plan, **before} if before.get(name) != plan.get(name))
        what = WORDS.get(different, different)
        raise ValueError(
            f"{folder} holds pictures of another {what}: choose another output_dir=..., or draw them again with "
            "overwrite=true"
        )
    pictures = sorted(folder.glob("[0-9]*.png"))
    if before is None and pictures:
        raise ValueError(f"{folder} holds {pictures[0].name}, which no evaluation drew: choose another output_dir=...")
    for stale in (folder / LIST, *pictures):
        stale.unlink(missing_ok=True)
    write_json(path, plan)


def _identity(generator: ImageGenerator) -> str:
    assert generator.folder is not None
    return file_sha256(generator.folder / "model.safetensors")
