"""Fixtures: a tiny data set of painted and of real pictures with patches, and concepts for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from embedding_space.encoders.base import EncodedImages
from embedding_space.store import EmbeddingStore
from embedding_space.tables import write_tables
from embedding_space.write_store import write_store

NOUNS = ("dog", "cat", "boat", "tree", "car", "bird", "house", "star")
DIM, PATCHES, WIDTH = 16, 4, 6


def sentence(random: np.random.Generator) -> str:
    return f"a {random.choice(NOUNS)} and a {random.choice(NOUNS)} on a hill"


@pytest.fixture
def store(tmp_path, word_encoder) -> EmbeddingStore:
    """300 captions with a painted picture each (`synthetic`), and 30 real pictures with two captions (`val`, `test`).

    A picture's patches are its words, seen from afar; their features are 6 numbers of these.
    """

    class PatchEncoder(word_encoder):
        patch_shape = (PATCHES, WIDTH)

        def encode_image_shards(self, paths, shards, patches=False, done=lambda count: None):
            for images, shard in zip(super().encode_image_shards(paths, shards), shards, strict=True):
                if not patches:
                    yield images
                    continue
                words = [paths[row].read_text().split() for row in shard]
                seen = torch.stack([self.encode_texts([row[1], row[4], row[2], row[-1]]) for row in words])
                seen = F.normalize(seen + torch.linspace(-0.5, 0.5, self.dim), dim=-1)
                yield EncodedImages(images.rows, seen.half(), 3 * seen[..., :WIDTH].half(), images.kept, images.reasons)

    root, random = tmp_path / "data" / "painted", np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    images, captions = [], []
    for split, count in (("synthetic", 300), ("val", 30), ("test", 30)):
        for number in range(count):
            words, path = sentence(random), f"images/{split}_{number}.txt"
            (root / path).write_text(words)
            images.append({"image_id": f"{split}_{number}", "path": path, "split": split})
            texts = (words,) if split == "synthetic" else (words, words.replace("a ", "one ", 1))
            captions += [
                {"caption_id": f"{split}_{number}_{n}", "image_row": len(images) - 1, "caption": text, "split": split}
                for n, text in enumerate(texts)
            ]
    write_tables(root, images, captions)
    return write_store(root, PatchEncoder(DIM), "words", "synthetic", "synthetic", patches=True)


@pytest.fixture
def concepts(tmp_path, word_encoder) -> Path:
    """A file of the eight nouns, embedded by the store's encoder."""
    path = tmp_path / "concepts.npz"
    np.savez(path, names=np.array(NOUNS), embeddings=word_encoder(DIM).encode_texts(list(NOUNS)).numpy())
    return path


@pytest.fixture
def configured(compose, store, concepts, tmp_path):
    """`configured("run", "loop.steps=9", ...)`: a small training's config; `decoder=` takes other overrides for it."""

    def configured(name: str, *overrides: str, decoder=("decoder.config.heads=2", "decoder.config.feedforward=24")):
        return compose(
            "pcm_net", f"store={store.path}", f"output_dir={tmp_path / name}", f"concepts.file={concepts}",
            "network.width=16", "network.layers=2", "network.heads=2", "network.feedforward=24", *decoder,
            "decoder.max_tokens=16", "loop.steps=4", "loop.batch_size=8", "loop.precision=fp32",
            "validation_captions=40", *overrides,
        )  # fmt: skip

    return configured
