"""What the detector's sights say of captions."""

from __future__ import annotations

import math

import torch

from demo_world.detector import VOCABULARY, Sights
from demo_world.object_recall import OBJECT_METRICS, judge_captions

THRESHOLD = 0.5


def sights(*seen: tuple[list[str], str, str]) -> Sights:
    """Sights that are sure of nouns, a place and a weather."""
    columns = []
    for number, kind in enumerate(VOCABULARY):
        probabilities = torch.zeros(len(seen), len(VOCABULARY[kind]))
        for row, what in enumerate(seen):
            words = what[number] if kind == "nouns" else [what[number]]
            probabilities[row, [VOCABULARY[kind].index(word) for word in words]] = 0.9
        columns.append(probabilities)
    return Sights(*columns)


def judged(caption: str, nouns: list[str], place: str = "beach", weather: str = "sunny") -> dict[str, float]:
    values = judge_captions(sights((nouns, place, weather)), THRESHOLD, [caption]).values
    return {name: values[name].item() for name in OBJECT_METRICS}


def test_recall_is_of_what_is_said_and_precision_of_what_is_seen():
    values = judged("a red car and two puppies on the beach on a sunny day", ["dog", "cat", "house"])
    assert values["object recall"] == 1 / 2 and values["noun precision"] == 1 / 3
    assert values["place accuracy"] == values["weather accuracy"] == 1
    values = judged("a dog in the forest at night", ["dog"])
    assert list(values.values()) == [1, 1, 0, 0]


def test_what_a_caption_does_not_say_has_no_value():
    values = judged("a dog next to a cat", [])
    assert values["object recall"] == 0
    assert all(math.isnan(values[name]) for name in OBJECT_METRICS[1:])  # nothing is seen, either


def test_the_threshold_decides_what_is_seen():
    seen = judge_captions(sights((["dog", "cat"], "farm", "clear")), 0.95, ["a dog and a cat on a farm"])
    assert seen.values["object recall"].item() == 0 and seen.values["noun precision"].isnan()


def test_captions_of_another_world_are_left_out_and_named():
    both = sights((["dog"], "beach", "sunny"), (["dog"], "beach", "sunny"))
    result = judge_captions(both, THRESHOLD, ["A dog on the beach.", "two men play chess"])
    assert result.unknown == ["two men play chess"]
    assert result.values["object recall"][0] == 1 and all(result.values[name][1].isnan() for name in OBJECT_METRICS)
