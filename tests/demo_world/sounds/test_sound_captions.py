"""Captions of sounds: true of their scene, read back with counts and order, and of many forms."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from demo_world.sounds.captions import LOUD, LOUDLY, SOFT, SOFTLY, write_captions
from demo_world.sounds.parse import Heard, SoundDescription, sounds_of
from demo_world.sounds.scene import sample_sound_scene
from demo_world.sounds.sources import SOURCES

SCENES = 1500


@pytest.fixture(scope="module")
def described():
    """(scene, caption, description)."""
    entries = []
    for index in range(SCENES):
        rng = np.random.default_rng([76, index])
        scene = sample_sound_scene(rng)
        entries += [(scene, caption, sounds_of(caption)) for caption in write_captions(scene, rng)]
    return entries


def test_sources_and_counts_are_true(described):
    for scene, caption, said in described:
        parts = {part.source: part for part in scene.all_parts}
        assert said.heard, caption
        for heard in said.heard:
            assert heard.source in parts, caption
            assert heard.counts is None or parts[heard.source].count in heard.counts, caption
        assert said.where in (None, "indoors" if scene.indoors else "outdoors"), caption


def test_order_is_true_and_what_is_behind_has_none(described):
    ordered = 0
    for scene, caption, said in described:
        place = {part.source: number for number, part in enumerate(scene.parts)}
        steps = sorted((heard.step, heard.source) for heard in said.heard if heard.step is not None)
        assert [step for step, _ in steps] == list(range(len(steps))), caption
        numbers = [place[source] for _, source in steps]  # a KeyError: the background has a step
        assert numbers == sorted(numbers), caption
        ordered += bool(steps)
        says = re.search(r"\b(then|followed by|before|after|after which)\b|stops? .*\band\b", caption)
        assert bool(steps) >= bool(says), caption
    assert 0.4 < ordered / len(described) < 0.6


def test_every_number_is_read(described):
    numbers = r"\b(once|twice|two|three|four|times|repeatedly|several|single)\b"
    for _, caption, said in described:
        assert any(heard.counts for heard in said.heard) >= bool(re.search(numbers, caption)), caption


def test_loud_and_soft_are_true(described):
    for scene, caption, _ in described:
        words = set(caption.replace(",", "").split())
        assert not words & set(LOUDLY) or max(part.level for part in scene.parts) >= LOUD, caption
        assert not words & set(SOFTLY) or min(part.level for part in scene.parts) <= SOFT, caption


def test_form_of_captions(described):
    by_scene = Counter(id(scene) for scene, _, _ in described)
    assert set(by_scene.values()) == {5} and len({(id(s), c) for s, c, _ in described}) == len(described)
    lengths = []
    for _, caption, _ in described:
        assert re.fullmatch(r"[a-z]+(?:,? [a-z]+)*", caption), caption
        for indefinite, word in re.findall(r"\b(an?) (\w+)", caption):
            assert (indefinite == "an") == (word[0] in "aeiou"), caption
        lengths.append(len(caption.split()))
    assert 6 <= np.mean(lengths) <= 10 and max(lengths) <= 26


def test_every_word_for_a_source_means_it_alone():
    seen: dict[str, str] = {}
    for source in SOURCES:
        for head in source.heads:
            assert seen.setdefault(head, source.name) == source.name
        phrases = [" ".join(saying) for saying in source.sayings] + [*source.nouns, *source.begins, *source.ends]
        for phrase in [*phrases, *(source.units or ())]:
            assert [heard.source for heard in sounds_of(phrase).heard] == [source.name], phrase
        assert source.nouns or source.counted


@pytest.mark.parametrize(
    ("caption", "heard"),
    [
        ("a bell rings twice, then rain begins", (Heard("bell", (2,), 0), Heard("rain", None, 1))),
        ("A dog barks while an engine idles", (Heard("bark"), Heard("engine"))),
        ("rain begins after three knocks", (Heard("rain", None, 1), Heard("knock", (3,), 0))),
        (
            "wind howls while a cow moos several times and then glass breaks",
            (Heard("wind"), Heard("moo", (3, 4), 0), Heard("glass", None, 1)),
        ),
        (
            "an alarm clock beeps, a clock ticks, and then a clap of thunder",
            (Heard("beep", None, 0), Heard("clock", None, 1), Heard("thunder", (1,), 2)),
        ),
        ("a dog barks and the dog barks again", (Heard("bark"),)),
        ("a man riding a wave", ()),
        ("", ()),
    ],
)
def test_captions_by_hand(caption, heard):
    assert sounds_of(caption) == SoundDescription(heard)


def test_where_it_is_heard():
    assert sounds_of("a bell rings in a large room").where == "indoors"
    assert sounds_of("a bird sings outside").where == "outdoors"
