"""What the captioner brings to the training loop: its loss, its validation and its checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from common.randomness import seeded_normal
from image_captioning.captioner import Captioner
from image_captioning.data import CaptionTokens
from training.batches import EpochOrder, StepRandom
from training.loop import Evaluation

ROWS_AT_ONCE = 256


class Examples:
    """Embeddings and the captions to be written from them, on one device.

    Args:
        rows: (N, D) raw embeddings of texts, or embeddings after the alignment, in float16 or float32.
        tokens: M captions.
        row_of: (M,) int64, the row of each caption; None when row n belongs to caption n.
        aligned: whether the rows have gone through the alignment; raw texts do so at every use, with new noise.
    """

    def __init__(self, rows: Tensor, tokens: CaptionTokens, row_of: Tensor | None = None, aligned: bool = False):
        self.rows, self.tokens, self.row_of, self.aligned = rows, tokens, row_of, aligned

    def embeddings(self, captioner: Captioner, numbers: Tensor, normal) -> Tensor:
        """(B, D) aligned unit rows of the captions `numbers`."""
        rows = self.rows[numbers if self.row_of is None else self.row_of[numbers]]
        return rows.float() if self.aligned else captioner.alignment.training_side(rows, normal)


class CaptioningTask:
    """Teacher forcing on `training`; the loss is the mean over the tokens of the global batch, in nats.

    Args:
        captioner: the model before any wrapping; its alignment makes the inputs.
        validation: by the name of its figure, such as `text_loss`: the examples whose loss a token it is.
        samples: raw text embeddings (S, D) and their S captions, for a table of sample captions.
        label_smoothing: in the training loss only.
    """

    def __init__(
        self,
        captioner: Captioner,
        training: Examples,
        validation: dict[str, Examples],
        samples: tuple[Tensor, list[str]],
        batch_size: int,
        seed: int,
        label_smoothing: float = 0.0,
    ):
        self.captioner, self.training, self.validation, self.samples = captioner, training, validation, samples
        self.seed, self.label_smoothing = seed, label_smoothing
        self.lengths = training.tokens.lengths.cpu()
        self.order = EpochOrder(len(training.tokens), batch_size, seed, lengths=self.lengths)

    def loss(self, model: nn.Module, random: StepRandom) -> dict[str, Tensor]:
        numbers = self.order.batch(random.step)
        lengths = self.lengths[numbers]  # of the global batch: every process pads and weights alike
        mine = numbers[random.rows].to(random.device)
        tokens, mask = self.training.tokens.batch(mine, int(lengths.max()))
        embeddings = self.training.embeddings(self.captioner, mine, random.normal_like)
        sums = model(embeddings, tokens, mask, self.label_smoothing)  # (rows,)
        # Mean over rows of (row sum x rows / tokens of the global batch) = mean over the global batch's tokens.
        return {"loss": sums.mean() * len(numbers) / int(lengths.sum())}

    def evaluate(self, model: Captioner) -> Evaluation:
        figures = {name: self._loss(model, examples) for name, examples in self.validation.items()}
        texts, references = self.samples
        captions = model.caption(model.align_texts(texts), progress=False)
        rows = [list(pair) for pair in zip(references, captions, strict=True)]
        return Evaluation(figures, {"samples": (["reference", "caption"], rows)})

    @torch.no_grad()
    def _loss(self, model: Captioner, examples: Examples) -> float:
        """Mean loss a token; the text side's noise is the same at every evaluation."""
        device = examples.rows.device
        normal = seeded_normal(device, self.seed, 3)
        total = torch.zeros((), dtype=torch.float64)
        for numbers in torch.arange(len(examples.tokens), device=device).split(ROWS_AT_ONCE):
            tokens, mask = examples.tokens.batch(numbers)
            embeddings = examples.embeddings(model, numbers, normal)
            total += model(embeddings, tokens, mask).sum().cpu().double()
        return total.item() / int(examples.tokens.lengths.sum())

    def save(self, model: Captioner, folder: Path) -> None:
        model.save_pretrained(folder)
