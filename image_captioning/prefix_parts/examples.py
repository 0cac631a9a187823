"""The training side of prefix parts: each caption's words, and the captions that are near it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.chain import Alignment
from alignment.nearest_rows import nearest_rows
from alignment.step import NormalSampler
from common.randomness import seeded_normal
from evaluation.captions.words import bare_words
from image_captioning.data import CaptionTokens
from image_captioning.prefix_parts.inputs import PrefixInputs
from image_captioning.prefix_parts.memory import CaptionMemory
from image_captioning.prefix_parts.parts import PrefixParts, RetrievalOptions
from image_captioning.prefix_parts.words import caption_words, masked_and_shuffled, training_words
from image_captioning.selection import CaptionSelection
from image_captioning.task import Examples

ROWS_AT_ONCE = 65_536


class PartExamples:
    """Captions with what prefix parts read of them.

    Args:
        examples: the captions and their embeddings.
        words: (M, E) int64, each caption's different words; None without a prompt.
        neighbors: (M, K) int64, captions of the parts' memory; None without retrieval.
    """

    def __init__(self, examples: Examples, parts: PrefixParts, words: Tensor | None, neighbors: Tensor | None):
        self.examples, self.parts, self.words, self.neighbors = examples, parts, words, neighbors

    @classmethod
    def load(cls, examples: Examples, selection: CaptionSelection, parts: PrefixParts, *seed: int) -> PartExamples:
        """The selected captions' words and near captions, found once; on the examples' device.

        Args:
            seed: of the noise with which near captions are searched.

        Raises:
            ValueError: there are not enough other captions.
        """
        captions, device = selection.captions(), examples.tokens.lengths.device
        words = neighbors = None
        if parts.prompt_options is not None:
            words = training_words(caption_words(captions, parts.names), parts.prompt_options.words).to(device)
        if parts.retrieval is not None and parts.memory is not None:
            store = selection.store
            groups = same_text(captions, store.captions(store.text_split))
            rows = selection.texts().to(device)
            neighbors = near_captions(rows, parts.memory, parts.retrieval, groups, seeded_normal(device, *seed))
        return cls(examples, parts, words, neighbors)

    @property
    def tokens(self) -> CaptionTokens:
        return self.examples.tokens

    @property
    def rows(self) -> Tensor:
        """(M, D) raw rows of the captions."""
        return self.examples.rows

    def inputs(self, alignment: Alignment, numbers: Tensor, normal: NormalSampler) -> PrefixInputs:
        """What is read for the captions `numbers` (B,)."""
        rows, words, neighbors = self.examples.inputs(alignment, numbers, normal), None, None
        if self.words is not None and self.parts.prompt_options is not None:
            words = masked_and_shuffled(self.words[numbers], self.parts.prompt_options.mask_share, normal)
        if self.neighbors is not None and self.parts.memory is not None:
            neighbors = self.parts.memory.rows[self.neighbors[numbers]].float()
        return PrefixInputs(rows, words, neighbors)


def same_text(captions: Sequence[str], others: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Numbers (M,) of the captions and (M',) of the others; equal ones have the same words (`bare_words`)."""
    numbers = bare_words([*captions, *others]).dictionary_encode().indices.to_numpy()
    numbers = torch.tensor(numbers, dtype=torch.long)
    return numbers[: len(captions)], numbers[len(captions) :]


def near_captions(
    rows: Tensor,
    memory: CaptionMemory,
    options: RetrievalOptions,
    groups: tuple[Tensor, Tensor],
    normal: NormalSampler,
) -> Tensor:
    """(M, K) int64: the captions of the memory that are nearest to rows (M, D) with noise on them, as an image's are to
    the image (IFCap's image-like retrieval, arXiv 2409.18046, section 3.1).

    Args:
        groups: of the rows and of the memory, see `nearest_rows`; captions of the same text are not taken.

    Raises:
        ValueError: a row has fewer others than `options.neighbors`.
    """
    of_rows, of_memory = (numbers.to(rows.device) for numbers in groups)
    copies = torch.bincount(of_memory, minlength=int(of_rows.max()) + 1)[of_rows]
    if (others := len(of_memory) - int(copies.max())) < options.neighbors:
        raise ValueError(
            f"parts.retrieval.neighbors={options.neighbors}: a caption has only {others} others, itself and its copies "
            "left out: lower it"
        )
    chosen = []
    for part, group in zip(rows.split(ROWS_AT_ONCE), of_rows.split(ROWS_AT_ONCE), strict=True):
        part = F.normalize(part.float(), dim=-1)
        part = F.normalize(part + options.noise_std * normal(part), dim=-1)
        chosen.append(nearest_rows(part, memory.rows, options.neighbors, group, of_memory))
    return torch.cat(chosen)
