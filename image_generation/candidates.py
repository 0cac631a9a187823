"""Best of n: several pictures are drawn for a row, and the encoder chooses the one that fits it best.

DALL·E re-ranks its samples by CLIP (Ramesh et al. 2021, arXiv 2102.12092, section 2.6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from alignment.chain import in_parts
from common.checks import Count, checked_dataclass
from common.randomness import mixed_seed
from embedding_space.encoders.base import Encoder, collate_readable
from image_generation.generator import ImageGenerator

Draw = Callable[[Tensor, Sequence[int]], list[Image.Image]]
"""Draws a picture for each row (N, D) and seed."""
Fit = Callable[[Sequence[Image.Image], Tensor], Tensor]
"""How well N pictures fit the rows (N, D) that they were drawn from, (N,)."""


class Kept(NamedTuple):
    """N pictures, each the best of its candidates, and the seeds of their noise."""

    pictures: list[Image.Image]
    noise_seeds: list[int]


@checked_dataclass()
class BestOf:
    """Option `candidates`.

    Attributes:
        candidates: pictures that are drawn for each that is kept; 1 chooses nothing.
    """

    candidates: Count = 1

    def seeds(self, seed: int) -> list[int]:
        """Those of the candidates' noise. The first is the picture's own; fewer candidates are the first of more."""
        return [seed, *(mixed_seed(seed, number) for number in range(1, self.candidates))]

    def pictures_at_once(self, batch_size: int) -> int:
        """How many pictures have all their candidates in one batch; 1 where those of one do not fit."""
        return max(1, batch_size // self.candidates)

    def draw(self, draw: Draw, fit: Fit, rows: Tensor, seeds: Sequence[int], batch_size: int) -> Kept:
        """Draw candidates for the rows (N, D), and keep the one of each row that fits it best; of equals the first.

        A picture depends on its row and seed; not on the others of its batch, rounding aside.

        Args:
            seeds: of the pictures.
            batch_size: pictures that `draw` draws at once.
        """
        if self.candidates == 1:
            return Kept(draw(rows, seeds), list(seeds))
        kept = Kept([], [])
        at_once = self.pictures_at_once(batch_size)
        for start in range(0, len(rows), at_once):
            tried = [tried for seed in seeds[start : start + at_once] for tried in self.seeds(seed)]
            repeated = rows[start : start + at_once].repeat_interleave(self.candidates, dim=0)
            drawn = draw(repeated, tried)
            best = fit(drawn, repeated).view(-1, self.candidates).argmax(dim=1)  # the first of equals
            for number in (self.candidates * torch.arange(len(best)) + best.cpu()).tolist():
                kept.pictures.append(drawn[number])
                kept.noise_seeds.append(tried[number])
        return kept

    def facts(self) -> dict[str, Any]:
        """What results record; {} where nothing is chosen."""
        return {} if self.candidates == 1 else {"candidates": self.candidates}

    def picture_facts(self, noise_seed: int) -> dict[str, Any]:
        """What a picture's metadata says of the choice; {} where there was none."""
        return {} if self.candidates == 1 else {"candidates": self.candidates, "noise_seed": noise_seed}


def cosines_to_rows(
    generator: ImageGenerator, encoder: Encoder, pictures: Sequence[Image.Image], rows: Tensor
) -> Tensor:
    """(N,) on the CPU: cosines of N pictures' embeddings, by the generator's encoder and behind its alignment without
    noise, to the aligned rows (N, D) that they were drawn from."""
    size = encoder.batch_size
    parts = [pictures[start : start + size] for start in range(0, len(pictures), size)]
    loaded = (collate_readable([(encoder.preprocess(picture), "") for picture in part]) for part in parts)
    encoded = next(encoder.encode_loaded(loaded, [len(pictures)]))
    aligned = in_parts(generator.alignment.clean_side, encoded.rows.to(rows.device))
    return F.cosine_similarity(aligned, rows, dim=-1).cpu()
