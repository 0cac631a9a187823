"""Pictures from sentences, for the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from PIL import Image

from common.characters import whole_characters
from common.config import compose_config, override
from image_generation.sources import PictureSource, make_sources
from web_app.links import LARGEST_SEED, SENTENCE_LENGTH

DEMO_WORLD = "this project's world of drawn animals, people, vehicles and things"


@dataclass(frozen=True)
class Drawing:
    """A drawn picture.

    Attributes:
        unknown: words of the sentence that the generator's encoder does not know; it was drawn without them.
    """

    picture: Image.Image
    sentence: str
    seed: int
    unknown: list[str]


class Painter:
    """A generator that draws sentences.

    Args:
        source: the generator with its encoder.
        name: of the checkpoint.
        facts: what it was trained on.
    """

    def __init__(self, source: PictureSource, name: str, facts: dict[str, Any]):
        self.source, self.name, self.facts = source, name, facts

    @classmethod
    def load(cls, checkpoint: str, precision: str) -> Painter:
        """As `scripts/generate_images.py checkpoint=...` draws.

        Raises:
            FileNotFoundError: there is no such generator.
            ValueError: it is damaged.
            ImportError: diffusers is missing.
        """
        config: DictConfig = compose_config(
            "generate_images", override("checkpoint", checkpoint), override("precision", precision)
        )
        source = make_sources(config)[0]
        return cls(source, Path(checkpoint).name, source.facts())

    @property
    def knows(self) -> str:
        """What it can draw, in one line."""
        images, data = self.facts.get("images"), str(self.facts.get("dataset", "one data set"))
        pictures = f"{images:,} pictures" if isinstance(images, int) else "pictures"
        world = f", {DEMO_WORLD}" if data.startswith("demo") else ""
        return f"{self.name} was trained on {pictures} of {data}{world}. It can draw nothing else."

    def draw(self, sentence: str, seed: int) -> Drawing:
        """Draw a sentence.

        Raises:
            ValueError: an empty sentence, one that is too long, or a seed out of range.
        """
        sentence = " ".join(whole_characters(sentence).split())
        if not sentence:
            raise ValueError("Write a sentence to draw, such as: two balloons above a farm at sunset")
        if len(sentence) > SENTENCE_LENGTH:
            raise ValueError(f"The sentence has {len(sentence)} characters, and {SENTENCE_LENGTH} is the limit")
        if not 0 <= seed <= LARGEST_SEED:
            raise ValueError(f"seed={seed} must be a whole number from 0 to {LARGEST_SEED}")
        unknown = list(dict.fromkeys(self.source.encoder.unknown_words(sentence)))
        picture = self.source.draw(self.source.rows([sentence]), [seed], None)[0]
        return Drawing(picture, sentence, seed, unknown)
