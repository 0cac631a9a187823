"""How much of what a caption says is in its picture, by the detector's eyes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from demo_world.detector import VOCABULARY, Sights
from demo_world.parse import Description, parse_caption

OBJECT_METRICS = ("object recall", "noun precision", "place accuracy", "weather accuracy")
SILENT = -1  # the number of a place or weather that a caption does not say


@dataclass(frozen=True, eq=False)
class CaptionJudgments:
    """Of N pictures and their captions.

    Attributes:
        values: {name of `OBJECT_METRICS`: (N,) float64 from 0 to 1}; nan where the caption says nothing of the kind,
            or is none of the demo world's.
        unknown: the captions that the demo world does not write.
    """

    values: dict[str, Tensor]
    unknown: list[str]


def judge_captions(sights: Sights, threshold: float, captions: Sequence[str]) -> CaptionJudgments:
    """What N pictures show of what their captions say.

    `object recall` is the share of the nouns that a caption names that are seen, `noun precision` the share of the
    nouns that are seen that the caption names (captions name part of a scene: a picture of the world itself does not
    reach 1), `place accuracy` and `weather accuracy` whether the likeliest one is what the caption says.

    Args:
        threshold: the probability from which a noun counts as seen.
    """
    said = [_parsed(caption) for caption in captions]
    named = torch.zeros(len(captions), len(VOCABULARY["nouns"]), dtype=torch.bool)
    rows = [(row, noun) for row, what in enumerate(said) if what is not None for noun in _noun_numbers(what)]
    if rows:
        named[tuple(torch.tensor(rows).T)] = True
    known = torch.tensor([what is not None for what in said], dtype=torch.bool)
    seen = sights.nouns >= threshold
    right = (named & seen).sum(1).double()
    values = {  # 0 / 0 is nan
        "object recall": right / named.sum(1),
        "noun precision": torch.where(known, right / seen.sum(1), torch.nan),
        "place accuracy": _agreement(sights.places, [_number("places", what and what.place) for what in said]),
        "weather accuracy": _agreement(sights.weathers, [_number("weathers", what and what.weather) for what in said]),
    }
    return CaptionJudgments(values, [caption for caption, what in zip(captions, said, strict=True) if what is None])


def _parsed(caption: str) -> Description | None:
    try:
        return parse_caption(caption.strip().rstrip(".").lower())
    except ValueError:
        return None


def _noun_numbers(what: Description) -> list[int]:
    return [VOCABULARY["nouns"].index(mention.noun) for mention in what.mentions]


def _number(kind: str, word: str | None) -> int:
    return SILENT if word is None else VOCABULARY[kind].index(word)


def _agreement(probabilities: Tensor, numbers: list[int]) -> Tensor:
    """(N,) float64: whether the likeliest is the one of that number; nan for `SILENT`."""
    wanted = torch.tensor(numbers, dtype=torch.int64)
    right = (probabilities.argmax(1) == wanted).double()
    return torch.where(wanted == SILENT, torch.nan, right)
