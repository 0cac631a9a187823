"""What the training loop asks of a translation: its loss on pairs, its validation figures, its checkpoint."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from modality_translation.measure import SIMILARITY, measure
from modality_translation.pairs import Pairs
from modality_translation.translation import Translation
from training.batches import EpochOrder, StepRandom
from training.loop import Evaluation


class TranslationTask:
    """A batch is drawn among the texts, each with its image; an epoch sees every text once."""

    def __init__(self, training: Pairs, validation: Pairs, batch_size: int, seed: int):
        self.training, self.validation = training, validation
        self.order = EpochOrder(len(training.texts), batch_size, seed)

    def loss(self, model: nn.Module, random: StepRandom) -> dict[str, Tensor]:
        pairs = self.training
        texts = self.order.batch(random.step)[random.rows].to(pairs.texts.device)
        return model(pairs.images[pairs.image_row[texts]], pairs.texts[texts], random)

    def evaluate(self, model: Translation) -> Evaluation:
        """`sim_txt`, `sim_img`, R@1 both ways, and `dissimilarity`, 1 - their mean similarity, for `loop.keep`."""
        found = measure(model, self.validation, tuple(model.directions))
        figures = {SIMILARITY[name]: values["similarity"] for name, values in found.items()}
        figures["dissimilarity"] = 1 - sum(figures.values()) / len(figures)
        return Evaluation(figures | {f"{name}_recall_at_1": values["recall_at_1"] for name, values in found.items()})

    def save(self, model: Translation, folder: Path) -> None:
        model.save_pretrained(folder)
