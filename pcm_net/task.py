"""What the training loop needs of PCM-Net: pairs of pictures and captions, and their weighted loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from alignment.chain import Alignment, in_parts
from alignment.step import NormalSampler
from embedding_space.patch_tokens import PatchTokens
from image_captioning.captioning_model import CaptioningModel
from image_captioning.data import CaptionTokens
from image_captioning.selection import CaptionSelection
from image_captioning.task import CaptioningTask
from pcm_net.inputs import PatchInputs
from pcm_net.loss import clip_weights

SHARE_FOR_PATCHES = 0.5  # of a GPU's free memory


@dataclass(frozen=True)
class PairExamples:
    """Captions and the pictures that they are written from.

    Attributes:
        tokens: M captions.
        images: (N, D) raw rows of the pictures, float16.
        patches, features: (N, P, D) and (N, P, W), on the device or on disk.
        row_of: (M,) int64, each caption's picture.
        texts: (M, D) raw rows of the captions, which the alignment makes the global rows from at every use; None: it
            makes them from the pictures' rows.
        aligned: (N, D) aligned rows of the pictures, which then need no alignment; or None.
    """

    tokens: CaptionTokens
    images: Tensor
    patches: Tensor | PatchTokens
    features: Tensor | PatchTokens
    row_of: Tensor
    texts: Tensor | None = None
    aligned: Tensor | None = None

    @classmethod
    def load(cls, selection: CaptionSelection, tokens: CaptionTokens, global_row: str) -> PairExamples:
        """The selected captions with their pictures, on the tokens' device.

        Args:
            global_row: `image` or `text`, whose row the alignment's training side turns into the global row.
        """
        device, store, split = tokens.lengths.device, selection.store, selection.split
        pairs = torch.from_numpy(store.pairs(split))[selection.rows]
        rows, row_of = pairs.unique(return_inverse=True)
        texts = selection.texts().to(device) if global_row == "text" else None
        patches, features = (
            on_device(grid.take(rows), device) for grid in (store.patches(split), store.patch_features(split))
        )
        return cls(tokens, store.images(split)[rows].half().to(device), patches, features, row_of.to(device), texts)

    def aligned_once(self, alignment: Alignment) -> PairExamples:
        """The same pairs, read as at inference: through the alignment's inference side, without noise."""
        aligned = in_parts(alignment.inference_side, self.images)
        return PairExamples(self.tokens, self.images, self.patches, self.features, self.row_of, None, aligned)

    def inputs(self, alignment: Alignment, numbers: Tensor, normal: NormalSampler) -> PatchInputs:
        """What is read for the captions `numbers` (B,)."""
        rows, device = self.row_of[numbers], self.row_of.device
        images = self.images[rows].float()
        if self.aligned is not None:
            seen = self.aligned[rows]
        else:
            seen = alignment.training_side(images if self.texts is None else self.texts[numbers], normal)
        patches, features = (read_patches(grid, rows, device) for grid in (self.patches, self.features))
        return PatchInputs(seen, images, patches, features)


def read_patches(grid: Tensor | PatchTokens, rows: Tensor, device: torch.device) -> Tensor:
    """(B, P, W) float16 of the pictures `rows` (B,), on the device."""
    return grid[rows] if isinstance(grid, Tensor) else grid.half(rows.cpu()).to(device)


def on_device(grid: PatchTokens, device: torch.device) -> Tensor | PatchTokens:
    """The patches in a GPU's memory, if they take at most `SHARE_FOR_PATCHES` of what is free; else left on disk."""
    if device.type != "cuda":
        return grid
    free = torch.cuda.mem_get_info(device)[0]
    count, places, width = grid.shape
    return grid.load(device) if 2 * count * places * width <= SHARE_FOR_PATCHES * free else grid


class PairTask(CaptioningTask):
    """Teacher forcing on pairs, weighted by CLIP (Luo et al. 2024, section 3.4).

    The loss is the mean over the tokens of the global batch, each weighted by its caption, and not divided by the
    weights' sum, as in the authors' code.

    Args:
        caption_weights: (M,) weights of the training captions, or None for one each.
        options: those of `CaptioningTask`; the samples' first part is a `PatchInputs`.
    """

    def __init__(self, *options, caption_weights: Tensor | None = None, **more):
        super().__init__(*options, **more)
        self.caption_weights = caption_weights

    def weights(self, numbers: Tensor) -> Tensor | float:
        return 1.0 if self.caption_weights is None else self.caption_weights[numbers]

    def sample_inputs(self, model: CaptioningModel) -> PatchInputs:
        return self.samples[0]


def caption_weights(selection: CaptionSelection, examples: PairExamples, scale: float) -> Tensor:
    """(M,) the CLIP weights of the selected captions and their pictures, on the examples' device."""
    texts = selection.texts().to(examples.images.device)
    return clip_weights(examples.images[examples.row_of], texts, scale)
