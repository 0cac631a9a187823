"""What the training loop needs of a translation: its loss on pairs, its validation metrics, its checkpoint."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from torch import Tensor, nn

from modality_translation.measure import SIMILARITY, translation_metrics
from modality_translation.pairs import PairedRows
from modality_translation.translation import Translation
from training.batches import EpochOrder, StepRandom
from training.kept_weights import Better
from training.loop import Evaluation


class TranslationTask:
    """Trains on batches of texts, each with its image. An epoch sees every text once.

    Args:
        directions: those that the model translates in.
    """

    def __init__(
        self, training: PairedRows, validation: PairedRows, batch_size: int, seed: int, directions: Collection[str]
    ):
        self.training, self.validation = training, validation
        self.order = EpochOrder(len(training.texts), batch_size, seed)
        higher = [*(SIMILARITY[name] for name in directions), *(f"{name}_recall_at_1" for name in directions)]
        self.better: dict[str, Better] = {"dissimilarity": "lower", **dict.fromkeys(higher, "higher")}

    def loss(self, model: nn.Module, random: StepRandom) -> dict[str, Tensor]:
        pairs = self.training
        texts = self.order.batch(random.step)[random.rows].to(pairs.texts.device)
        return model(pairs.images[pairs.image_row[texts]], pairs.texts[texts], random)

    def evaluate(self, model: Translation) -> Evaluation:
        """`sim_txt`, `sim_img`, R@1 both ways, and `dissimilarity`, 1 - the mean similarity of both."""
        by_direction = translation_metrics(model, self.validation, tuple(model.directions))
        metrics = {SIMILARITY[name]: values.similarity for name, values in by_direction.items()}
        metrics["dissimilarity"] = 1 - sum(metrics.values()) / len(metrics)
        recalls = {f"{name}_recall_at_1": values.recall_at_1 for name, values in by_direction.items()}
        return Evaluation(metrics | recalls)

    def save(self, model: Translation, folder: Path) -> None:
        model.save_pretrained(folder)
