"""Fixtures: prefix parts on a tiny store, with a vocabulary whose embeddings are in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from image_captioning.prefix_parts.build import make_parts, make_vocabulary, tokenizer_text
from image_captioning.tokenizer import train_tokenizer

NOUNS = ("dog", "cat", "boat", "tree", "car", "bird", "house", "star", "beach", "forest", "street", "field")
SOURCES = {
    "viecap": {"kind": "similar", "threshold": 0.05, "temperature": 0.1},
    "ifcap": {"kind": "frequent", "captions": 9, "least": 3},
    "meacap": {"kind": "merged", "captions": 5, "least": 2},
}


@pytest.fixture
def vocabulary(tmp_path, word_encoder) -> Path:
    """A file of the tiny store's nouns, embedded by its encoder."""
    path = tmp_path / "vocabulary.npz"
    np.savez(path, names=np.array(NOUNS), embeddings=word_encoder(16).encode_texts(list(NOUNS)).numpy())
    return path


@pytest.fixture
def part_options(vocabulary):
    """The options of a method's parts, such as `part_options("ifcap")`."""

    def options(method: str, **changed) -> dict:
        retrieval = {"neighbors": 3, "noise_std": 0.05} if method == "ifcap" else None
        given = {"vocabulary": {"file": str(vocabulary)}, "prompt": {}, "source": SOURCES[method]}
        return {**given, "retrieval": retrieval, **changed}

    return options


@pytest.fixture
def built(part_options):
    """Finished parts of a method on a store."""

    def build(method: str, store, **changed):
        options, captions = part_options(method, **changed), store.captions("train")
        names = make_vocabulary(options, captions, store)
        return make_parts(options, names, train_tokenizer(tokenizer_text(captions, names)), store)

    return build
