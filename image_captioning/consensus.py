"""Choosing among a caption's hypotheses by the training captions near the image: minimum Bayes risk over a text memory.

What an image's captions might be, we know from the text memory: p(c | image) = softmax(cosine / temperature) over the
training captions c that are nearest to the image. The hypothesis h with the largest expected agreement
sum_c p(c | image) u(h, c) is the one of minimum risk (Kumar and Byrne, https://aclanthology.org/N04-1022). Where c are
captions of similar *images*, it is a consensus caption (Devlin et al., arXiv 1505.04467, section 3.3); here images have
no captions.

The agreement u is CIDEr's without its penalty on length (arXiv 1411.5726, section 3): the mean over n = 1 ... 4 of the
cosine of two captions' n-gram counts, weighted by how rare n-grams are in the training captions. It is linear in c's
vector, so that all near captions together are one vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize
from torch import Tensor

from alignment.chain import Alignment
from alignment.nearest_rows import nearest_rows
from alignment.steps import BASIC_STEPS
from embedding_space.store import EmbeddingStore
from evaluation.captions.training_text import TrainingSource
from evaluation.captions.words import bare_words

NGRAMS = (1, 2, 3, 4)
ROWS_AT_ONCE = 1024


class NGramVectors:
    """Captions as vectors whose dot product is the agreement u of two captions, 0 to 1.

    Args:
        captions: from which n-grams and their weights, ln(captions / captions with the n-gram), are learned. Other
            n-grams count nothing.
    """

    def __init__(self, captions: Sequence[str]):
        words = _words(captions)
        self.counters = [CountVectorizer(ngram_range=(n, n), token_pattern=r"\S+", lowercase=False) for n in NGRAMS]
        self.weights: list[np.ndarray] = []
        self.vectors = sparse.hstack([self._learn(counter, words) for counter in self.counters], format="csr")

    def __call__(self, captions: Sequence[str]) -> Any:
        """(N, V) float32 of N captions, a sparse matrix."""
        words = _words(captions)
        parts = [_unit(c.transform(words), w) for c, w in zip(self.counters, self.weights, strict=True)]
        return sparse.hstack(parts, format="csr")

    def _learn(self, counter: CountVectorizer, words: list[str]) -> Any:
        counts: Any
        try:
            counts = counter.fit_transform(words)
        except ValueError:  # no caption has so many words
            counter.fit(["a b c d"])
            counts = counter.transform(words)
        captions_with = np.maximum(np.bincount(counts.indices, minlength=counts.shape[1]), 1)
        self.weights.append(np.log(len(words) / captions_with))
        return _unit(counts, self.weights[-1])


class ConsensusMemory:
    """Training captions and where they are in the space in which images look for them.

    Args:
        captions: M of them.
        rows: (M, D) float, of unit length.
        chain: from raw image rows to that space.
    """

    def __init__(self, captions: Sequence[str], rows: Tensor, chain: Alignment):
        self.captions, self.rows, self.chain, self.ngrams = list(captions), rows, chain, NGramVectors(captions)

    @classmethod
    def from_store(cls, store: EmbeddingStore, split: str) -> ConsensusMemory:
        """The captions of a split.

        Where the store has an image mean, each modality's mean is subtracted first: the training store's, whatever
        `image_mean_from` says, for only an order among captions comes of it.
        """
        steps = ["Normalize", "Center", "Normalize"] if store.has_mean("image") else ["Normalize"]
        chain = Alignment.from_store([{"step": step} for step in steps], BASIC_STEPS, store)
        rows = torch.cat([chain.clean_side(part.float()) for part in store.texts(split).split(ROWS_AT_ONCE)])
        return cls(store.captions(split), rows, chain)

    def expected(self, images: Tensor, count: int, temperature: float) -> Any:
        """(N, V) the expected caption of each image, sum_c p(c | image) times the vector of c; a sparse matrix.

        Args:
            images: (N, D) raw rows.
            count: how many of the nearest captions; all of them, where there are fewer.
            temperature: of the softmax over cosines.
        """
        with torch.autocast(self.rows.device.type, enabled=False):  # half precision mixes up near captions
            aligned = self.chain.inference_side(images.to(self.rows.device).float())
            nearest = nearest_rows(aligned, self.rows, min(count, len(self.rows)))  # (N, count)
            cosines = torch.einsum("qd,qkd->qk", aligned, self.rows[nearest])
        weights = (cosines / temperature).softmax(dim=-1).cpu().numpy()
        columns, starts = nearest.cpu().numpy().ravel(), np.arange(0, weights.size + 1, weights.shape[1])
        shape = (len(images), len(self.rows))
        return sparse.csr_matrix((weights.ravel(), columns, starts), shape) @ self.ngrams.vectors


def memory_of(training: TrainingSource) -> Callable[[], ConsensusMemory] | None:
    """Makes the memory of a captioner's training captions; None where they are not known."""
    store, split = training.store, training.split
    return None if store is None else lambda: ConsensusMemory.from_store(store, split)


class Consensus:
    """Scores hypotheses by their expected agreement with the captions near their images.

    Args:
        memory: the training captions.
        images: (N, D) raw rows of the images that are captioned.
        count, temperature: see `ConsensusMemory.expected`.
    """

    def __init__(self, memory: ConsensusMemory, images: Tensor, count: int, temperature: float):
        self.memory, self.images, self.count, self.temperature = memory, images, count, temperature

    def scores(self, hypotheses: Sequence[str], first_row: int, count: int) -> Tensor:
        """(B, count) of B x count hypotheses, image by image; the first image is number `first_row`."""
        images = self.images[first_row : first_row + len(hypotheses) // count]
        expected = self.memory.expected(images, self.count, self.temperature)
        of_each = expected[np.repeat(np.arange(len(images)), count)]
        agreement = np.asarray(self.memory.ngrams(hypotheses).multiply(of_each).sum(axis=1), dtype=np.float32)
        return torch.from_numpy(agreement.reshape(-1, count))


def _words(captions: Sequence[str]) -> list[str]:
    return bare_words(captions).to_pylist()


def _unit(counts: Any, weights: np.ndarray) -> Any:
    """Weighted counts with rows of the length 1/2: the sum over four lengths of n-grams is the mean of the cosines."""
    weighted = counts.astype(np.float32).multiply(weights.astype(np.float32)).tocsr()
    return normalize(weighted) / len(NGRAMS) ** 0.5
