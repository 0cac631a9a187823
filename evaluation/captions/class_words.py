"""Captions judged by the names of classes: does a caption say what its image is of?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.captions.words import bare_words


def class_accuracy(
    references: Mapping[str, Sequence[str]], captions: Mapping[str, str], classes: Sequence[str]
) -> np.ndarray:
    """(N,), in the order of `captions`: 1 where a caption names the class of its image and no other, else 0.

    The class of an image is the one that its references name; `labels_from_captions` says when one is named.

    Raises ValueError for an image whose references name no class, or several.
    """
    truth = labels_from_captions({image_id: references[image_id] for image_id in captions}, classes)
    if unclear := [image_id for image_id in captions if image_id not in truth]:
        raise ValueError(
            f"the references of {len(unclear):,} images (the first is {unclear[0]}) do not name one class alone of "
            f"classes={list(classes)[:10]}"
        )
    named = labels_from_captions({image_id: [caption] for image_id, caption in captions.items()}, classes)
    return np.array([named.get(image_id) == truth[image_id] for image_id in captions], dtype=np.float64)


def labels_from_captions(references: Mapping[str, Sequence[str]], classes: Sequence[str]) -> dict[str, int]:
    """{image_id: number of its class}, of the images whose references name one class and no other.

    A class is named where its words, or its plural in s or es, are in a caption.
    """
    names = bare_words(list(classes)).to_pylist()
    images = list(references)
    texts = [f" {' | '.join(bare_words(list(references[image_id])).to_pylist())} " for image_id in images]
    named = [
        {n for n, name in enumerate(names) if any(f" {name}{s} " in text for s in ("", "s", "es"))} for text in texts
    ]
    return {image_id: next(iter(hits)) for image_id, hits in zip(images, named, strict=True) if len(hits) == 1}
