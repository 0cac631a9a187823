"""A step of an alignment: what all gap-closing methods are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from embedding_space.store import EmbeddingStore

NormalSampler = Callable[[Tensor], Tensor]
"""Maps a tensor to standard normal noise of its shape, dtype and device."""


class Step(nn.Module):
    """Base of all steps: both sides are the identity until a subclass says otherwise.

    changes_texts: whether text rows may leave the step other than they came. Only such steps matter to what was trained
        on text rows.
    uses_pairs: whether the step has learned from image-text pairs.
    image_dim, image_encoder: the width of the image rows that it takes and the description of their encoder, for a step
        that takes them from another space than the texts'.
    image_options: options of the image side alone, which may change after a decoder was trained on the texts.
    estimate: how `from_store` set an option that was given as `auto`: its name, value, method and the data read.
    """

    changes_texts = True
    image_options: tuple[str, ...] = ()
    estimate: dict | None = None
    uses_pairs = False
    image_dim: int | None = None
    image_encoder: dict | None = None

    def __init__(self):  # without nn.Module's *args, which would accept any option
        super().__init__()

    def text(self, rows: Tensor, normal: NormalSampler) -> Tensor:
        """(B, D) text rows -> (B, D), as the decoder sees them in training. Draws randomness from `normal` only."""
        return rows

    def clean_text(self, rows: Tensor) -> Tensor:
        """(B, D) text rows -> (B, D) without augmentation; by default the text side with every noise zero."""
        return self.text(rows, torch.zeros_like)

    def image(self, rows: Tensor) -> Tensor:
        """(B, D) image rows -> (B, D), as the decoder sees them at inference."""
        return rows

    def options(self) -> dict:
        """The JSON constructor values that rebuild this step, tensors aside."""
        return {}

    @classmethod
    def from_store(cls, store: EmbeddingStore, preceding: Sequence[Step], **options) -> Step:
        """Build the step from data; `preceding` are the finished steps before it in the chain."""
        return cls(**options)

    def with_image_options(self, **options) -> Step:
        """This step with other values of its `image_options`; text side and tensors are the same. ValueError for bad
        values."""
        step = type(self)(**{**self.options(), **options})
        step.load_state_dict(self.state_dict())
        return step.to(next(self.buffers(), torch.empty(0)).device)

    def restore(self, preceding: Sequence[Step]) -> None:
        """Fetch, after a checkpoint was loaded, what it names instead of holding. Raises when that is missing."""
