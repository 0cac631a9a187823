"""What the training loop needs of a captioner: its examples, its loss, its validation and its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from alignment.chain import Alignment, in_parts
from alignment.step import NormalSampler
from common.randomness import seeded_normal
from image_captioning.captioning_model import CaptioningModel
from image_captioning.data import CaptionTokens
from image_captioning.selection import CaptionSelection
from training.batches import EpochOrder, StepRandom
from training.kept_weights import Better
from training.loop import Evaluation

ROWS_AT_ONCE = 4096
VALIDATION_BATCH = 256


class CaptionExamples(Protocol):
    """Captions, and what each is to be written from."""

    @property
    def tokens(self) -> CaptionTokens:
        """The captions."""
        ...

    def inputs(self, alignment: Alignment, numbers: Tensor, normal: NormalSampler) -> Any:
        """The inputs of the captions `numbers` (B,), such as aligned unit rows (B, D)."""
        ...


class Examples:
    """Embeddings and the captions to be written from them, on one device.

    Args:
        rows: (N, D) raw embeddings of texts, or aligned embeddings, in float16 or float32.
        tokens: M captions.
        row_of: (M,) int64, the row of each caption; None when row n belongs to caption n.
        aligned: whether the rows are aligned already; raw texts are aligned at every use, with new noise.
    """

    def __init__(self, rows: Tensor, tokens: CaptionTokens, row_of: Tensor | None = None, aligned: bool = False):
        self.rows, self.tokens, self.row_of, self.aligned = rows, tokens, row_of, aligned

    @classmethod
    def load(cls, selection: CaptionSelection, tokens: CaptionTokens, alignment: Alignment, inputs: str) -> Examples:
        """The selected captions with their embeddings, on the tokens' device.

        Args:
            inputs: `text` for raw texts, or `pairs` for their images, which are aligned once, since the inference side
                has no noise.
        """
        device = tokens.lengths.device
        if inputs == "text":
            return cls(selection.texts().to(device), tokens)
        images = selection.store.images(selection.split).to(device)
        row_of = torch.from_numpy(selection.store.pairs(selection.split))[selection.rows].to(device)
        return cls(in_parts(alignment.inference_side, images), tokens, row_of, aligned=True)

    def aligned_once(self, alignment: Alignment, seed: int, progress: bool = True) -> Examples:
        """The same texts after the alignment, with noise that is drawn once for all epochs, in float16."""
        normal = seeded_normal(self.rows.device, seed, 6)
        parts = self.rows.split(ROWS_AT_ONCE)
        bar = tqdm(parts, desc="aligning texts", unit=f"{ROWS_AT_ONCE} rows", disable=not progress)
        rows = torch.cat([alignment.training_side(part, normal).half() for part in bar])
        return Examples(rows, self.tokens, aligned=True)

    def inputs(self, alignment: Alignment, numbers: Tensor, normal: NormalSampler) -> Tensor:
        """(B, D) aligned unit rows of the captions `numbers` (B,)."""
        rows = self.rows[numbers if self.row_of is None else self.row_of[numbers]]
        return rows.float() if self.aligned else alignment.training_side(rows, normal)


class CaptioningTask:
    """Teacher forcing on `training`; the loss is the mean over the tokens of the global batch, in nats.

    Args:
        captioner: the model before any wrapping; its alignment makes the inputs.
        training: the examples to train on.
        validation: {metric: examples whose loss per token it is}, such as `text_loss`.
        samples: raw text embeddings (S, D) (see `sample_inputs`) and their S captions, for a table of sample captions.
        batch_size: captions per step, over all processes.
        seed: of the order and of validation noise.
        label_smoothing: in the training loss only.
    """

    def __init__(
        self,
        captioner: CaptioningModel,
        training: CaptionExamples,
        validation: Mapping[str, CaptionExamples],
        samples: tuple[Any, list[str]],
        batch_size: int,
        seed: int,
        label_smoothing: float = 0.0,
    ):
        self.captioner, self.training, self.validation, self.samples = captioner, training, validation, samples
        self.better: dict[str, Better] = dict.fromkeys(validation, "lower")
        self.seed, self.label_smoothing = seed, label_smoothing
        self.lengths = training.tokens.lengths.cpu()
        self.order = EpochOrder(len(training.tokens), batch_size, seed, lengths=self.lengths)

    def loss(self, model: nn.Module, random: StepRandom) -> dict[str, Tensor]:
        numbers = self.order.batch(random.step)
        lengths = self.lengths[numbers]  # of the global batch: every process pads and weights alike
        mine = numbers[random.rows].to(random.device)
        tokens, mask = self.training.tokens.batch(mine, int(lengths.max()))
        inputs = self.training.inputs(self.captioner.alignment, mine, random.normal_like)
        sums = model(inputs, tokens, mask, self.label_smoothing) * self.weights(mine)  # (rows,)
        # Mean over rows of (row sum x rows / tokens of the global batch) = mean over the global batch's tokens.
        return {"loss": sums.mean() * len(numbers) / int(lengths.sum())}

    def weights(self, numbers: Tensor) -> Tensor | float:
        """(B,) weights of the training captions `numbers` in the loss, or one for all."""
        return 1.0

    def sample_inputs(self, model: Any) -> Any:
        """The inputs of the sample captions."""
        return model.align_texts(self.samples[0])

    def evaluate(self, model: CaptioningModel) -> Evaluation:
        metrics = {name: self.loss_per_token(model, examples) for name, examples in self.validation.items()}
        references = self.samples[1]
        captions = model.caption(self.sample_inputs(model), progress=False)
        rows = [list(pair) for pair in zip(references, captions, strict=True)]
        return Evaluation(metrics, {"samples": (["reference", "caption"], rows)})

    @torch.no_grad()
    def loss_per_token(self, model: CaptioningModel, examples: CaptionExamples) -> float:
        """Mean loss per token. The training side's noise is the same at every evaluation."""
        device = examples.tokens.lengths.device
        normal = seeded_normal(device, self.seed, 3)
        total = torch.zeros((), dtype=torch.float64)
        for numbers in torch.arange(len(examples.tokens), device=device).split(VALIDATION_BATCH):
            tokens, mask = examples.tokens.batch(numbers)
            inputs = examples.inputs(model.alignment, numbers, normal)
            total += model(inputs, tokens, mask).sum().cpu().double()
        return total.item() / int(examples.tokens.lengths.sum())

    def save(self, model: CaptioningModel, folder: Path) -> None:
        model.save_pretrained(folder)
