"""Captions are read back: all that they name is true of their scene, and nothing that they name is lost."""

from __future__ import annotations

import re

import numpy as np
import pytest

from demo_world.captions import ABOVE, HALVES, LEFT_OF, SIZES, write_captions
from demo_world.lexicon import COLORS, NOUN, NOUNS
from demo_world.parse import Mention, Relation, parse_caption
from demo_world.scene import sample_scene

SCENES = 1200


@pytest.fixture(scope="module")
def described():
    """(scene, caption, description) of thousands of captions."""
    entries = []
    for index in range(SCENES):
        rng = np.random.default_rng([72, index])
        scene = sample_scene(rng)
        entries += [(scene, caption, parse_caption(caption)) for caption in write_captions(scene, rng)]
    return entries


def group_of(mention, scene):
    [group] = [group for group in scene.groups if group.noun == mention.noun]
    return group


def test_all_that_is_read_is_true_of_the_scene(described):
    for scene, caption, said in described:
        assert said.place in (None, scene.place) and said.weather in (None, scene.weather), caption
        for mention in said.mentions:
            group = group_of(mention, scene)
            assert group.count in mention.counts, caption
            assert mention.color in (None, group.color) and mention.size in (None, group.size), caption


def test_every_word_for_a_noun_a_color_or_a_size_is_read(described):
    forms = {form: noun.name for noun in NOUNS for pair in ((noun.name, noun.plural), *noun.synonyms) for form in pair}
    longest_first = "|".join(sorted(forms, key=len, reverse=True))
    sizes = {word: size for size, words in SIZES.items() for word in words}
    scenery = re.compile(r"red barn|orange sky|grey clouds|blue ocean")
    for _, caption, said in described:
        text = scenery.sub("", caption)
        assert sorted(forms[form] for form in re.findall(rf"\b({longest_first})\b", text)) == sorted(
            mention.noun for mention in said.mentions
        ), caption
        words = text.split()
        assert [word for word in words if word in COLORS] == [m.color for m in said.mentions if m.color], caption
        assert [sizes[word] for word in words if word in sizes] == [m.size for m in said.mentions if m.size], caption


def test_relations_are_read_and_true(described):
    kinds = set()
    for scene, caption, said in described:
        for relation in said.relations:
            kinds.add(relation.kind)
            subject, other = (group_of(said.mentions[place], scene) for place in (relation.subject, relation.other))
            if relation.kind == "above":
                assert subject.bottom <= other.top and abs(subject.x - other.x) <= ABOVE, caption
            elif relation.kind != "beside":
                left, right = (subject, other) if relation.kind == "left of" else (other, subject)
                assert right.x - left.x >= LEFT_OF, caption
                assert not relation.halves or (left.x < HALVES[0] and right.x > HALVES[1]), caption
        assert bool(said.relations) >= bool(re.search(r"\b(left|right|next to)\b", caption)), caption
    assert kinds == {"left of", "right of", "beside", "above"}


@pytest.mark.parametrize(
    ("caption", "place", "weather", "mentions", "relations"),
    [
        ("a group of small red automobiles", None, None, None, None),
        (
            "a pair of puppies beside a big orange octopus under the sea",
            "underwater", None, (Mention("dog", (2,)), Mention("octopus", (1,), "orange", "big")),
            (Relation("beside", 0, 1),),
        ),
        (
            "a dark sandy beach with a group of people and a beach umbrella",
            "beach", "night", (Mention("person", (3, 4)), Mention("beach umbrella", (1,))), (),
        ),
        (
            "a dove flying above a beach umbrella on a sandy beach",
            "beach", None, (Mention("dove", (1,)), Mention("beach umbrella", (1,))), (Relation("above", 0, 1),),
        ),
        (
            "a tent on the right and two deer on the left",
            None, None, (Mention("tent", (1,)), Mention("deer", (2,))), (Relation("right of", 0, 1, halves=True),),
        ),
        (
            "the sun sets behind a pickup truck near a red barn",
            "farm", "sunset", (Mention("truck", (1,)),), (),
        ),
        ("a man riding a wave on top of a surfboard", None, None, None, None),
        ("a dog runs on the beach and barks", None, None, None, None),
        ("on the beach", None, None, None, None),
        ("a dog on the beach in the forest", None, None, None, None),
        ("", None, None, None, None),
    ],
)  # fmt: skip
def test_captions_by_hand(caption, place, weather, mentions, relations):
    if mentions is None:
        with pytest.raises(ValueError, match="is no caption that the demo world writes"):
            parse_caption(caption)
        return
    said = parse_caption(caption)
    assert (said.place, said.weather, said.mentions, said.relations) == (place, weather, mentions, relations)
    assert all(mention.noun in NOUN for mention in said.mentions)
