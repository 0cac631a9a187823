"""Captions are read back with a parser of their own and compared with the scene: nothing untrue or ungrammatical."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import numpy as np
import pytest

from demo_world.captions import article, write_captions
from demo_world.lexicon import COLORS, NOUN, NOUNS, VERBS
from demo_world.places import PLACES, WEATHERS
from demo_world.scene import sample_scene

SCENES = 1500
COUNTS = {"a": (1,), "an": (1,), "two": (2,), "a pair of": (2,), "three": (3,), "four": (4,), "a group of": (3, 4)}
SIZES = {"big": "big", "large": "big", "small": "small", "little": "small"}
FORMS: dict[str, tuple[str, bool | None]] = {}  # a noun's form -> (noun, whether it is plural, None if it may be both)
for _noun in NOUNS:
    for _one, _many in ((_noun.name, _noun.plural), *_noun.synonyms):
        FORMS[_one] = (_noun.name, None if _one == _many else False)
        FORMS.setdefault(_many, (_noun.name, True))


def _any(words) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


NOUN_PHRASE = re.compile(
    rf"\b(?P<count>{_any(COUNTS)}) (?:(?P<size>{_any(SIZES)}) )?(?:(?P<color>{_any(COLORS)}) )?"
    rf"(?P<form>{_any(FORMS)})\b"
)
PLACE_WORDS: dict[str, str] = {}
for _place in PLACES:
    for _phrase in (*_place.at, *_place.over, *_place.across, *_place.afloat, *_place.around):
        assert PLACE_WORDS.setdefault(_phrase, _place.name) == _place.name, f"{_phrase!r} may mean two places"
WEATHER_WORDS = {phrase: weather.name for weather in WEATHERS for phrase in weather.phrases}
WEATHER_WORDS |= {"the sun shines on": "sunny", "rain falls on": "rainy", "snow falls on": "snowing",
                  "the moon shines on": "night", "the sun sets behind": "sunset"}  # fmt: skip
SCENERY = re.compile(
    rf"^(?:a|an) (?:(?P<adjective>{_any(w.adjective for w in WEATHERS if w.adjective)}|blue) )?"
    rf"(?P<name>{_any(name for p in PLACES for name in p.names)})"
    rf"(?: (?P<after>{_any(w.after for w in WEATHERS if w.after)}))? with "
)
FORM_OF = {form: (verb, number) for verb, forms in VERBS.items() for number, form in enumerate(forms)}


@cache
def facts(caption: str):
    """(place or None, weather or None, noun phrases as matches, the caption with 0, 1, 2 for its noun phrases)."""
    place = weather = None
    text = caption
    scenery = SCENERY.match(text)
    if scenery:
        place = next(p.name for p in PLACES if scenery["name"] in p.names)
        for w in WEATHERS:
            if scenery["adjective"] and scenery["adjective"] == w.adjective:
                weather = w.name
            if scenery["after"] and scenery["after"] == w.after:
                weather = w.name
        text = "scenery with " + text[scenery.end() :]
    for words, name in sorted(WEATHER_WORDS.items(), key=lambda item: -len(item[0])):
        if re.search(rf"\b{words}\b", text):
            assert weather in (None, name), caption
            weather, text = name, re.sub(rf"\b{words}\b", "", text)
    for words, name in sorted(PLACE_WORDS.items(), key=lambda item: -len(item[0])):
        there = rf"\b{words}\b(?! umbrella)"
        if re.search(there, text):
            assert place in (None, name), caption
            place, text = name, re.sub(there, "", text)
    text = re.sub(r"^(a picture of|a view of|a scene with) ", "", text)
    phrases = list(NOUN_PHRASE.finditer(text))
    numbers = iter(range(len(phrases)))
    return place, weather, phrases, " ".join(NOUN_PHRASE.sub(lambda _: str(next(numbers)), text).split())


def meant(phrase: re.Match, scene):
    """The group of the scene that a noun phrase names, or None if it is untrue of every group."""
    noun, plural = FORMS[phrase["form"]]
    counts = COUNTS[phrase["count"]]
    assert plural is None or plural == (counts != (1,)), f"wrong number: {phrase[0]!r}"
    for group in scene.groups:
        if (
            group.noun == noun
            and group.count in counts
            and (phrase["color"] is None or phrase["color"] == group.color)
            and (phrase["size"] is None or SIZES[phrase["size"]] == group.size)
        ):
            return group
    return None


@pytest.fixture(scope="module")
def world():
    scenes = []
    for index in range(SCENES):
        rng = np.random.default_rng([71, index])
        scene = sample_scene(rng)
        scenes.append((scene, write_captions(scene, rng)))
    return scenes


def test_every_noun_count_color_size_place_and_weather_named_is_true(world):
    for scene, captions in world:
        for caption in captions:
            place, weather, phrases, _ = facts(caption)
            assert place in (None, scene.place), (caption, scene)
            assert weather in (None, scene.weather), (caption, scene)
            assert phrases, caption
            for phrase in phrases:
                assert meant(phrase, scene) is not None, (caption, phrase[0], scene)


def test_nothing_is_left_that_the_parser_does_not_understand(world):
    glue = {"scenery", "with", "and", "there", "is", "are", "0", "1", "2", "to", "the", "left", "right", "of", "on"}
    glue |= {"next", "near", "beside", "above", "over", "overhead", "in", "sky"}
    glue |= {word for form in FORM_OF for word in form.split()}
    for _, captions in world:
        for caption in captions:
            rest = facts(caption)[3].replace(",", "")
            assert set(rest.split()) <= glue, (caption, rest)


def test_relations_are_true(world):
    seen = Counter()
    for scene, captions in world:
        for caption in captions:
            _, _, phrases, rest = facts(caption)
            groups = [meant(phrase, scene) for phrase in phrases]
            for side, sign in (("left", 1), ("right", -1)):
                if re.search(rf"0 (?:to|on) the {side} of 1", rest) or re.search(rf"0 on the {side} and 1", rest):
                    seen[side] += 1
                    assert sign * (groups[1].x - groups[0].x) >= 0.12, (caption, scene)
                    if f"0 on the {side} and" in rest:
                        assert (groups[0].x - 0.5) * (groups[1].x - 0.5) < 0, (caption, scene)
            if re.search(r"(?:above|over) 1", rest):
                seen["above"] += 1
                assert groups[0].bottom <= groups[1].top and abs(groups[0].x - groups[1].x) <= 0.3, (caption, scene)
            if re.search(r"\d (?:overhead|in the sky)$", rest):
                seen["overhead"] += 1
                assert NOUN[groups[-1].noun].zone == "sky", caption
            if re.search(r"(?:next to|near|beside) 1", rest):
                seen["near"] += 1
                between = [g for g in scene.standing if g not in groups]
                assert not any(min(groups[0].x, groups[1].x) < g.x < max(groups[0].x, groups[1].x) for g in between)
    assert min(seen[key] for key in ("left", "right", "above", "overhead", "near")) > 50, seen


def test_verbs_agree_and_suit_their_subjects(world):
    finite = _any(form for forms in VERBS.values() for form in forms)
    seen = Counter()
    for scene, captions in world:
        for caption in captions:
            _, _, phrases, rest = facts(caption)
            said = re.match(rf"0 ({finite})\b", rest)
            if said:
                verb, number = FORM_OF[said[1]]
                subject = meant(phrases[0], scene)
                assert verb in NOUN[subject.noun].verbs, caption
                if number < 2 and VERBS[verb][0] != VERBS[verb][1]:
                    assert (number == 0) == (subject.count == 1), caption
                    seen[number] += 1
            there = re.match(r"there (is|are) 0", rest)
            if there:
                assert (there[1] == "is") == phrases[0]["count"].startswith("a"), caption
    assert seen[0] > 100 and seen[1] > 100


def test_indefinite_articles_agree_with_the_next_word(world):
    assert (article("octopus"), article("blue")) == ("an", "a")
    for _, captions in world:
        for caption in captions:
            for indefinite, word in re.findall(r"\b(an?) (\w+)", caption):
                assert (indefinite == "an") == (word[0] in "aeiou"), caption


def test_form_of_captions(world):
    vocabulary, lengths = set(), []
    for _, captions in world:
        assert len(captions) == len(set(captions)) == 5
        for caption in captions:
            assert re.fullmatch(r"[a-z]+(?:,? [a-z]+)*", caption), caption
            lengths.append(len(caption.split()))
            vocabulary |= set(caption.replace(",", "").split())
    assert 300 <= len(vocabulary) <= 900
    assert 7 <= np.mean(lengths) <= 12
    assert np.percentile(lengths, 1) >= 5 and np.percentile(lengths, 99) <= 16 and max(lengths) <= 24


def test_captions_of_a_scene_share_its_content_and_most_are_specific(world):
    """The main noun is in at least three of the five; at least three give two facts or more."""
    for scene, captions in world:
        first = sum(any(meant(p, scene) is scene.groups[0] for p in facts(c)[2]) for c in captions)
        specific = 0
        for caption in captions:
            place, weather, phrases, _ = facts(caption)
            plural = sum(phrase["count"] not in ("a", "an") for phrase in phrases)
            specific += len(phrases) + plural + (place is not None) + (weather is not None) >= 2
        assert first >= 3 and specific >= 3, (captions, scene)


def test_same_seed_same_captions():
    scene = sample_scene(np.random.default_rng(5))
    one = write_captions(scene, np.random.default_rng(6))
    assert one == write_captions(scene, np.random.default_rng(6))
    assert one != write_captions(scene, np.random.default_rng(7))
