"""The prefix parts of a captioner: what it reads of an image beside its aligned row, in training and at inference."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.checks import Count, NotNegative, Share, checked_dataclass
from image_captioning.prefix_parts.inputs import PrefixInputs
from image_captioning.prefix_parts.memory import CaptionMemory
from image_captioning.prefix_parts.prompt import HardPrompt
from image_captioning.prefix_parts.rules import make_rule
from image_captioning.prefix_parts.words import chosen

IMAGES_AT_ONCE = 512


@checked_dataclass("parts.prompt.")
class PromptOptions:
    """Words of a prompt.

    Attributes:
        words: a prompt names so many at most.
        mask_share: the probability with which a word is left out in training.
    """

    words: Count = 10
    mask_share: Share = 0.4


@checked_dataclass("parts.retrieval.")
class RetrievalOptions:
    """Captions that the mapper looks at.

    Attributes:
        neighbors: so many.
        noise_std: per dimension, on the embedding of a training caption that they are searched for; an image needs
            none, for it is as far from its captions as that.
    """

    neighbors: Count = 5
    noise_std: NotNegative = 0.2


class PrefixParts(nn.Module):
    """Words in a prompt, near captions for the mapper, or both. It has no weights of its own.

    Args:
        dim: D of the embeddings.
        names: the vocabulary of the prompt.
        prompt: `{"words", "mask_share", "width", "longest"}`, see `PromptOptions` and `HardPrompt`; None: no prompt.
        source: options of the rule by which images get their words, see `make_rule`; None without a prompt.
        retrieval: see `RetrievalOptions`; None: the mapper looks at no captions.
        memory: options of the `CaptionMemory` that rule or retrieval search; None if neither does.
    """

    vocabulary: Tensor | None

    def __init__(
        self,
        dim: int,
        names: Sequence[str],
        prompt: dict | None = None,
        source: dict | None = None,
        retrieval: dict | None = None,
        memory: dict | None = None,
    ):
        super().__init__()
        self.dim, self.names, self.source = dim, list(names), source
        self.retrieval = None if retrieval is None else RetrievalOptions(**retrieval)
        self.prompt = self.prompt_options = self.rule = None
        if prompt is not None and source is not None:
            self.prompt_options = PromptOptions(prompt["words"], prompt["mask_share"])
            self.prompt = HardPrompt(len(self.names), prompt["width"], prompt["longest"])
            self.rule = make_rule(source)
        embeds = self.rule is not None and self.rule.reads_vocabulary
        self.register_buffer("vocabulary", torch.zeros(len(self.names), dim) if embeds else None)
        self.memory = None if memory is None else CaptionMemory(**memory)

    @property
    def prompt_length(self) -> int:
        """Tokens of the longest prompt; 0 without one."""
        return 0 if self.prompt is None else self.prompt.longest

    def options(self) -> dict:
        """The JSON constructor values, tensors aside."""
        prompt = retrieval = None
        if self.prompt is not None and self.prompt_options is not None:
            shape = {"width": self.prompt.tokens.shape[1], "longest": self.prompt.longest}
            prompt = {"words": self.prompt_options.words, "mask_share": self.prompt_options.mask_share, **shape}
        if self.retrieval is not None:
            retrieval = {"neighbors": self.retrieval.neighbors, "noise_std": self.retrieval.noise_std}
        return {
            "dim": self.dim,
            "names": self.names,
            "prompt": prompt,
            "source": self.source,
            "retrieval": retrieval,
            "memory": self.memory and self.memory.options(),
        }

    def restore(self) -> None:
        """After loading a checkpoint, read what it names but does not hold; raises as `CaptionMemory.restore`."""
        if self.memory is not None:
            self.memory.restore()

    def self_contained(self) -> PrefixParts:
        """These parts with a memory that is saved with them, in float16."""
        if self.memory is None:
            return self
        memory = self.memory.self_contained()
        parts = PrefixParts(**{**self.options(), "memory": memory.options()})
        parts.prompt, parts.vocabulary, parts.memory = self.prompt, self.vocabulary, memory
        return parts

    @torch.no_grad()
    def inputs(self, aligned: Tensor, rows: Tensor, device: torch.device) -> PrefixInputs:
        """What the captioner reads at inference.

        Args:
            aligned: (N, D) rows after the alignment.
            rows: (N, D) the same before it: images, or texts to see what there is without a gap.
            device: where to compute; the result is on the device of `aligned`.

        Raises:
            ValueError: the rows are not of the captions' space.
        """
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise ValueError(
                f"This captioner searches words and captions of {self.dim} dimensions with the images' rows, which "
                f"have the shape {tuple(rows.shape)}: its prefix parts need images in the texts' space"
            )
        words, neighbors = [], []
        with torch.autocast(device.type, enabled=False):
            for part in rows.split(IMAGES_AT_ONCE):
                part = F.normalize(part.to(device).float(), dim=-1)
                if self.rule is not None:
                    words.append(self._words(part).to(aligned.device))
                if self.retrieval is not None and self.memory is not None:
                    nearest = self.memory.nearest(part, self.retrieval.neighbors)
                    neighbors.append(self.memory.rows[nearest].float().to(aligned.device))
        return PrefixInputs(aligned, *(torch.cat(parts) if parts else None for parts in (words, neighbors)))

    def _words(self, rows: Tensor) -> Tensor:
        assert self.rule is not None and self.prompt_options is not None
        words = self.rule.words(rows, self.vocabulary, self.memory)
        return chosen(words, words >= 0, self.prompt_options.words)
