"""The concepts that a training asks for: a file's, or the nouns of its captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embedding_space.encoders.load import reload_encoder
from embedding_space.store import EmbeddingStore
from pcm_net.concepts import PROMPTS, Concepts, corpus_nouns, embed_concepts, read_concepts, read_names


def make_concepts(options: Mapping[str, Any], captions: Sequence[str], store: EmbeddingStore) -> Concepts:
    """The concepts of the options `concepts.*`, embedded by the store's encoder where the file does not do it.

    Args:
        options: `file`, `count` and `prompts`, as in `configs/pcm_net.yaml`.
        captions: the training captions.

    Raises:
        ValueError: an option or the file is bad, or the encoder cannot be loaded.
    """
    prompts = options["prompts"]
    if prompts not in PROMPTS:
        raise ValueError(f"concepts.prompts={prompts!r} must be one of {', '.join(PROMPTS)}")
    file = options["file"] and Path(options["file"])
    if file and file.suffix != ".txt":
        return read_concepts(file, store.dim)
    names = read_names(file) if file else corpus_nouns(captions, options["count"])
    return embed_concepts(names, reload_encoder(store.manifest.encoder), PROMPTS[prompts])
