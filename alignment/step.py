"""A step of an alignment: what all gap-closing methods are made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from embedding_space.store import EmbeddingStore

NormalSampler = Callable[[Tensor], Tensor]
"""Maps a tensor to standard normal noise of its shape, dtype and device."""


class Step(nn.Module):
    """Base of all steps, which map rows (B, D) to rows (B, D). Both sides are the identity by default.

    For captioning, the training side takes text embeddings while the decoder trains, and the inference side takes image
    embeddings. For image generation it is the other way round: see `EmbeddingStore.training_modality`. A constructor
    takes JSON values only, so that a saved chain can be rebuilt before its tensors are loaded.
    `from_store` makes a new step from data.

    Attributes:
        changes_training_rows: whether the training side may change a row. A model trained on rows of the chain depends
            on such steps only.
        uses_pairs: whether the step has learned from image-text pairs.
        reads_inference_rows: whether `from_store` reads rows of the inference side, unpaired, or their mean: for
            captioning, images.
        inference_dim: the width of the inference rows, if their space is not that of the training rows.
        inference_encoder: the description of the inference rows' encoder, likewise.
        inference_options: options of the inference side only, which may change after a decoder was trained.
        estimate: how `from_store` set an option that is `auto`: its name, value, method and the data read.
    """

    changes_training_rows = True
    uses_pairs = False
    reads_inference_rows = False
    inference_dim: int | None = None
    inference_encoder: dict | None = None
    inference_options: tuple[str, ...] = ()
    estimate: dict | None = None

    def __init__(self):  # without nn.Module's *args, which would accept any option
        super().__init__()

    def training_side(self, rows: Tensor, normal: NormalSampler) -> Tensor:
        """(B, D) -> (B, D), as the decoder sees rows in training. Draws randomness from `normal` only."""
        return rows

    def clean_side(self, rows: Tensor) -> Tensor:
        """(B, D) -> (B, D), the training side without augmentation; by default with every noise zero."""
        return self.training_side(rows, torch.zeros_like)

    def inference_side(self, rows: Tensor) -> Tensor:
        """(B, D) -> (B, D), as the decoder sees rows at inference."""
        return rows

    def options(self) -> dict[str, Any]:
        """The JSON constructor values that rebuild this step, tensors aside."""
        return {}

    @classmethod
    def from_store(cls, store: EmbeddingStore, preceding: Sequence[Step], **options) -> Step:
        """Make the step from data.

        Args:
            preceding: the finished steps before it in the chain.
        """
        return cls(**options)

    @classmethod
    def option_names(cls) -> set[str]:
        """The options that `from_store` takes."""
        parameters = list(inspect.signature(cls.from_store).parameters.values())[2:]  # after store and preceding
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            parameters += inspect.signature(cls).parameters.values()
        return {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}

    def with_inference_options(self, **options) -> Step:
        """This step with other values of its `inference_options`. Training side and tensors stay the same.

        Raises:
            ValueError: a bad value.
        """
        step = type(self)(**{**self.options(), **options})
        step.load_state_dict(self.state_dict())
        return step.to(next(self.buffers(), torch.empty(0)).device)

    def move_encoders(self, move: Callable[[Mapping], Mapping]) -> None:
        """Change where the encoders that this step describes have their files.

        Args:
            move: a description -> that of the same encoder with its files elsewhere.
        """

    def restore(self, preceding: Sequence[Step]) -> None:
        """After loading a checkpoint, fetch the tensors that it names but does not hold.

        Raises:
            FileNotFoundError: they are missing.
            ValueError: they have changed.
        """


StepTypes = Mapping[str, type[Step]]
"""The classes of steps by the names that configs and checkpoints use."""
