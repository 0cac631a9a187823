"""What the pictures of a split are drawn from: its captions, or, as an upper bound, its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alignment.chain import Alignment, in_parts
from embedding_space.store import EmbeddingStore
from image_generation.generator import ImageGenerator
from modality_translation.translation import Translation

TRANSLATED = "text_to_image"


@dataclass(frozen=True)
class Conditions:
    """How embeddings become the rows that a generator draws from.

    Attributes:
        from_images: each picture is drawn from the image's own embedding, as in training but without noise: what a
            perfect alignment would come to.
        alignment: whose inference side captions go through; None for the generator's own.
        translation: of captions into image embeddings, in the place of an alignment. It learned from pairs.
    """

    from_images: bool = False
    alignment: Alignment | None = None
    translation: Translation | None = None

    def check(self, generator: ImageGenerator) -> None:
        """Raise ValueError where two ways are asked for, or one that does not fit the generator."""
        chosen = {
            "prompts.from_images=true": self.from_images,
            "alignment": self.alignment is not None,
            "translation": self.translation is not None,
        }
        named = [name for name, is_chosen in chosen.items() if is_chosen]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)} exclude each other: pictures are drawn from one kind of rows")
        if self.translation is not None and self.translation.dims["images"] != generator.dim:
            raise ValueError(
                f"The translation writes image embeddings of {self.translation.dims['images']} dimensions, and the "
                f"generator reads {generator.dim}: choose one that was trained with the generator's encoder"
            )
        if self.alignment is not None:
            generator.alignment.check_training_side(self.alignment.to(generator.device), generator.dim)

    def rows(self, generator: ImageGenerator, store: EmbeddingStore, split: str, captions: np.ndarray) -> Tensor:
        """(P, D) aligned rows on the generator's device, of P captions given as rows within `store.captions(split)`."""
        self.check(generator)
        chain = generator.alignment
        if self.from_images:
            images = store.images(split)[torch.from_numpy(store.pairs(split)[captions])]
            return in_parts(chain.clean_side, images.to(generator.device))
        texts = store.texts(split)[torch.from_numpy(captions)]
        if self.translation is not None:
            images = self.translation.translate(texts.float(), TRANSLATED)
            return in_parts(chain.clean_side, images.to(generator.device))
        if self.alignment is not None:
            return in_parts(self.alignment.to(generator.device).inference_side, texts.to(generator.device))
        return generator.align(texts)

    def facts(self) -> dict[str, Any]:
        """What tells these conditions from others; {} for the generator's own way."""
        facts: dict[str, Any] = {"from_images": True} if self.from_images else {}
        if self.alignment is not None:
            facts["alignment"] = self.alignment.options()
            facts["alignment_hash"] = self.alignment.hash
        if self.translation is not None:
            facts["translation"] = self.translation.provenance
        return facts

    def uses_pairs(self, generator: ImageGenerator) -> bool:
        """Whether anything that the pictures come from was trained on image-text pairs, the encoder aside."""
        trained = bool(generator.provenance.get("uses_pairs", True))
        return trained or self.translation is not None or bool(self.alignment and self.alignment.uses_pairs)
