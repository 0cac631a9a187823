"""A step of an alignment: what all gap-closing methods are made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from embedding_space.store import EmbeddingStore

NormalSampler = Callable[[Tensor], Tensor]
"""Maps a tensor to standard normal noise of its shape, dtype and device."""


class Step(nn.Module):
    """Base of all steps, which map rows (B, D) to rows (B, D). Both sides are the identity unless a subclass says so.

    The training side takes text embeddings while the decoder trains, the inference side takes image embeddings. A
    constructor takes JSON values alone, so that a saved chain can be rebuilt before its tensors are loaded;
    `from_store` makes a new step from data.

    Attributes:
        changes_training_rows: whether the training side may change a row. Only such steps matter to what was trained
            on rows that went through it.
        uses_pairs: whether the step has learned from image-text pairs.
        inference_dim, inference_encoder: for a step whose inference rows come from another space than the training
            rows, their width and the description of their encoder.
        inference_options: options of the inference side alone, which may change after a decoder was trained.
        estimate: how `from_store` set an option that was given as `auto`: its name, value, method and the data read.
    """

    changes_training_rows = True
    uses_pairs = False
    inference_dim: int | None = None
    inference_encoder: dict | None = None
    inference_options: tuple[str, ...] = ()
    estimate: dict | None = None

    def __init__(self):  # without nn.Module's *args, which would accept any option
        super().__init__()

    def training_side(self, rows: Tensor, normal: NormalSampler) -> Tensor:
        """(B, D) -> (B, D), as the decoder sees text rows in training. Draws randomness from `normal` only."""
        return rows

    def clean_side(self, rows: Tensor) -> Tensor:
        """(B, D) -> (B, D), the training side without augmentation; by default with every noise zero."""
        return self.training_side(rows, torch.zeros_like)

    def inference_side(self, rows: Tensor) -> Tensor:
        """(B, D) -> (B, D), as the decoder sees image rows at inference."""
        return rows

    def options(self) -> dict:
        """The JSON constructor values that rebuild this step, tensors aside."""
        return {}

    @classmethod
    def from_store(cls, store: EmbeddingStore, preceding: Sequence[Step], **options) -> Step:
        """Make the step from data; `preceding` are the finished steps before it in the chain."""
        return cls(**options)

    @classmethod
    def option_names(cls) -> set[str]:
        """The options that `from_store` takes."""
        parameters = list(inspect.signature(cls.from_store).parameters.values())[2:]  # after store and preceding
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            parameters += inspect.signature(cls).parameters.values()
        return {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}

    def with_inference_options(self, **options) -> Step:
        """This step with other values of its `inference_options`; training side and tensors are the same.

        Raises:
            ValueError: a bad value.
        """
        step = type(self)(**{**self.options(), **options})
        step.load_state_dict(self.state_dict())
        return step.to(next(self.buffers(), torch.empty(0)).device)

    def restore(self, preceding: Sequence[Step]) -> None:
        """Fetch, after a checkpoint was loaded, what it names instead of holding. Raises when that is missing."""


StepTypes = Mapping[str, type[Step]]
"""The classes of steps by the names that configs and checkpoints use."""
