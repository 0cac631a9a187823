"""Captions of scenes that move: true of them, read back, and as silent as people are."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from demo_world.captions import COUNTS
from demo_world.lexicon import COLORS, NOUNS
from demo_world.motion.captions import write_captions
from demo_world.motion.parse import motion_of
from demo_world.motion.scene import Motion, sample_motion_scene
from demo_world.motion.verbs import KIND_OF_FORM, KINDS

SCENES = 1200
FORMS = {form: noun.name for noun in NOUNS for forms in ((noun.name, noun.plural), *noun.synonyms) for form in forms}


def _any(words) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


NUMBERS = {"a": (1,), "an": (1,)}
for _count, _words in COUNTS.items():
    for _word, _ in _words:
        NUMBERS[_word] = (*NUMBERS.get(_word, ()), _count)
NOUN_PHRASE = re.compile(rf"\b({_any(NUMBERS)}) (?:({_any(COLORS)}) )?({_any(FORMS)})\b")


@pytest.fixture(scope="module")
def written():
    """(scene, its captions)."""
    entries = []
    for index in range(SCENES):
        rng = np.random.default_rng([74, index])
        scene = sample_motion_scene(rng)
        entries.append((scene, write_captions(scene, rng)))
    return entries


def test_the_motion_that_a_caption_says_is_that_of_its_scene(written):
    seen = Counter()
    for scene, captions in written:
        for caption in captions:
            said = motion_of(caption)
            for part in ("kind", "direction", "change"):
                value = getattr(said, part)
                assert value in (None, getattr(scene.motion, part)), (caption, scene.motion)
                seen[value] += value is not None
    assert set(KINDS) <= set(seen) and min(seen[word] for word in ("left", "right", "rain starts", "snow stops")) > 20


def test_every_word_of_motion_is_read(written):
    words = {word for form in KIND_OF_FORM for word in [form.split()[0]] if word not in ("is", "are")}
    for _, captions in written:
        for caption in captions:
            said = motion_of(caption)
            assert (said.direction is not None) == bool(re.search(r"\b(left|right)\b", caption)), caption
            assert (said.change is not None) == bool(re.search(r"\b(start|begin|stop)s?\b", caption)), caption
            assert (said.kind is not None) == bool(words & set(caption.split())), caption


def test_people_do_not_say_everything(written):
    said = [(scene.motion, motion_of(caption)) for scene, captions in written for caption in captions]
    assert 0.85 < np.mean([what.kind is not None for _, what in said]) < 0.92
    going = [what for motion, what in said if motion.kind == "go" and what.kind]
    assert 0.56 < np.mean([what.direction is not None for what in going]) < 0.64
    turning = [what for motion, what in said if motion.change]
    assert 0.38 < np.mean([what.change is not None for what in turning]) < 0.48


def test_things_that_are_named_are_there_and_counted(written):
    for scene, captions in written:
        groups = {group.noun: group for group in scene.rest.groups}
        for caption in captions:
            phrases = NOUN_PHRASE.findall(re.sub(r"\ba red barn\b", "", caption))
            assert phrases, caption
            for number, color, form in phrases:
                group = groups[FORMS[form]]
                assert group.count in NUMBERS[number] and color in ("", group.color), caption


def test_what_goes_past_something_is_on_both_sides_of_it(written):
    passed = 0
    for scene, captions in written:
        for caption in captions:
            if re.search(rf"\b(past|in front of) ({_any(NUMBERS)}) (?!red barn)", caption):
                passed += 1
                assert (scene.start.x - scene.other.x) * (scene.end.x - scene.other.x) < 0, caption
    assert passed > 20


def test_form_of_captions(written):
    lengths = []
    for _, captions in written:
        assert len(captions) == len(set(captions)) == 5
        for caption in captions:
            assert re.fullmatch(r"[a-z]+(?: [a-z]+)*", caption), caption
            for indefinite, word in re.findall(r"\b(an?) (\w+)", caption):
                assert (indefinite == "an") == (word[0] in "aeiou"), caption
            lengths.append(len(caption.split()))
    assert 7 <= np.mean(lengths) <= 12 and max(lengths) <= 24


@pytest.mark.parametrize(
    ("caption", "motion"),
    [
        ("two dogs run from left to right on the beach", Motion("go", "right")),
        ("A balloon rises above a farm while the rain stops", Motion("rise", None, "rain stops")),
        ("a red car drives toward the camera", Motion("approach")),
        ("a car is parked to the left of a tree", Motion("stay")),
        ("it starts to snow as a butterfly flies down", Motion("sink", None, "snow starts")),
        ("a runner and a house in the rain", Motion(None)),
        ("", Motion(None)),
    ],
)
def test_captions_by_hand(caption, motion):
    assert motion_of(caption) == motion
