"""Rows replaced by what the training texts near them have in common, on both sides."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.row_memory import RowMemory
from alignment.steps import Normalize
from common.checks import Count, NotNegative, Positive, checked_options

QUERIES_AT_ONCE = 512
COPY = 0.999  # cosine above which two texts are the same caption; an export has rounded its memory to float16


class NearestTexts(RowMemory):
    """Replace rows by the mean of the training texts nearest to them, as unit rows; a text never sees itself.

    A decoder trains on means of *other* texts, as it will read them for images: there is no gap between the two. A copy
    of a text, of a cosine above `COPY`, counts as the text itself. A text of which the memory has copies alone stays as
    it is.

    - Knight (arXiv 2301.12739): the 5 nearest.
    - IFCap's image-like retrieval (arXiv 2409.18046): the 5 nearest to the text with noise, since an image is not as
      near to texts as a text is.
    - DeCap's projection (arXiv 2303.03032, see `TextMemory`) on both sides: all texts, weighted by
      softmax(similarity / temperature).

    The texts are those of the training split after the preceding steps, (M, D). Each row costs M D multiplications for
    its similarities, once more with query noise, and once more where all texts are averaged. For image generation, the
    memory holds images. `RowMemory` says how it is saved.

    Args:
        neighbors: how many are averaged; None for all.
        temperature: of the softmax over the neighbors' similarities; None weights them alike.
        query_noise_std: standard deviation per dimension of the noise with which a text searches its neighbors.
    """

    @checked_options("alignment.")
    def __init__(
        self,
        neighbors: Count | None = 5,
        temperature: Positive | None = None,
        query_noise_std: NotNegative = 0.0,
        **memory: Any,
    ):
        super().__init__(**memory)
        if neighbors is None and temperature is None:
            raise ValueError(
                "alignment.neighbors=null takes all texts, and alignment.temperature=null weights them alike: give one "
                "of the two a number"
            )
        self.neighbors, self.temperature, self.query_noise_std = neighbors, temperature, query_noise_std

    def training_side(self, rows, normal):
        queries = F.normalize(rows + self.query_noise_std * normal(rows), dim=-1) if self.query_noise_std else rows
        return self._means(queries, itself=rows)

    def inference_side(self, rows):
        return self._means(rows)

    def _means(self, queries: Tensor, itself: Tensor | None = None) -> Tensor:
        """(B, D) unit rows; of `itself` (B, D), no copy is among a query's neighbors, and it is what a row without
        neighbors gets."""
        means = torch.empty_like(queries)
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            part = slice(start, start + QUERIES_AT_ONCE)
            similarity = queries[part] @ self.memory.T  # (b, M)
            if itself is not None:
                copies = (similarity if itself is queries else itself[part] @ self.memory.T) > COPY  # (b, M)
                mean = self._weighted_mean(similarity.masked_fill(copies, -torch.inf))
                means[part] = torch.where(copies.all(dim=-1, keepdim=True), itself[part], mean)
            else:
                means[part] = self._weighted_mean(similarity)
        return F.normalize(means, dim=-1)

    def _weighted_mean(self, similarity: Tensor) -> Tensor:
        """Similarities (b, M), -inf where left out -> means (b, D), not of unit length."""
        if self.neighbors is None:
            return self._weights(similarity) @ self.memory
        nearest = similarity.topk(self.neighbors, dim=-1)  # (b, k)
        return torch.einsum("bk,bkd->bd", self._weights(nearest.values), self.memory[nearest.indices])

    def _weights(self, similarity: Tensor) -> Tensor:
        """Of neighbors, by their similarities (b, k); 0 for those that are left out."""
        if self.temperature is None:
            return similarity.isfinite().float()
        return (similarity / self.temperature).softmax(dim=-1)

    def settings(self):
        return {
            "neighbors": self.neighbors,
            "temperature": self.temperature,
            "query_noise_std": self.query_noise_std,
        }

    @classmethod
    def from_store(
        cls,
        store,
        preceding,
        neighbors: int | None = 5,
        temperature: float | None = None,
        query_noise_std: float = 0.0,
        memory_rows: int | None = None,
    ):
        """Raises ValueError when it does not directly follow a Normalize, for similarities are cosines, and when a text
        has fewer than `neighbors` other texts."""
        if not preceding or not isinstance(preceding[-1], Normalize):
            raise ValueError(
                "NearestTexts must directly follow a Normalize: its similarities are cosines. Correct the list "
                "alignment.steps."
            )
        settings = {"neighbors": neighbors, "temperature": temperature, "query_noise_std": query_noise_std}
        step = cls.with_memory_of(store, preceding, memory_rows, **settings)
        others = len(step.memory) - 1
        if (neighbors or 1) > others:
            raise ValueError(
                f"alignment.neighbors={neighbors} must be at most {others}, the number of other texts in the memory"
            )
        if (step.memory @ step.memory[0] > COPY).all():
            raise ValueError(f"NearestTexts needs different texts, and all {others + 1} of {store.path} are the same")
        return step
