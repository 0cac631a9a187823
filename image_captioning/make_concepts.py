"""The concepts that a training asks for: a file's, or the nouns of its captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embedding_space.encoders.load import reload_encoder
from embedding_space.store import EmbeddingStore
from image_captioning.concepts import PROMPTS, Concepts, corpus_nouns, embed_concepts, read_concepts, read_names


def make_concepts(
    options: Mapping[str, Any], captions: Sequence[str], store: EmbeddingStore, prefix: str = "concepts."
) -> Concepts:
    """The concepts of the options `concepts.*`, embedded by the store's encoder where the file does not do it.

    Args:
        options: `file`, `count` and `prompts`, as in `configs/pcm_net.yaml`.
        captions: the training captions.
        prefix: of the options' names in messages.

    Raises:
        ValueError: an option or the file is bad, or the encoder cannot be loaded.
    """
    prompts = options["prompts"]
    if prompts not in PROMPTS:
        raise ValueError(f"{prefix}prompts={prompts!r} must be one of {', '.join(PROMPTS)}")
    if options["file"]:
        return concepts_of_file(options["file"], store.dim, store.manifest.encoder, prompts)
    names = concept_names(options, captions, store, prefix)
    return embed_concepts(names, reload_encoder(store.manifest.encoder), PROMPTS[prompts])


def concept_names(
    options: Mapping[str, Any], captions: Sequence[str], store: EmbeddingStore, prefix: str = "concepts."
) -> list[str]:
    """The names alone of the concepts that `make_concepts` gives, with its arguments; no encoder is loaded.

    Raises:
        ValueError: the file is bad, or the captions have no nouns.
    """
    if file := options["file"]:
        return read_names(file) if Path(file).suffix == ".txt" else read_concepts(file, store.dim).names
    if names := corpus_nouns(captions, options["count"]):
        return names
    raise ValueError(f"The captions have no nouns to be concepts: give a list of words with {prefix}file=")


def concepts_of_file(file: str | Path, dim: int, encoder: Mapping[str, Any], prompts: str = "ensemble") -> Concepts:
    """The concepts of a file; a list of words (.txt) is embedded.

    Args:
        dim: D of the joint space.
        encoder: the description of its encoder.
        prompts: a name in `PROMPTS`, for words.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is refused, or the encoder cannot be loaded.
    """
    if Path(file).suffix != ".txt":
        return read_concepts(file, dim)
    return embed_concepts(read_names(file), reload_encoder(encoder), PROMPTS[prompts])
