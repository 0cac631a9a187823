"""METEOR's Java process: its fields, its death, its silence, and who uses it next."""

from __future__ import annotations

import pytest

from evaluation.captions import meteor
from evaluation.captions.metrics import CaptionScorer, score_captions

REFERENCES = {"1": ["a man riding a motorcycle", "a man on a motor bike"], "2": ["a girl blowing out a candle"]}
PREDICTIONS = {"1": "a man riding a motorcycle on a road", "2": "a little girl and candles"}


@pytest.fixture(scope="module")
def scorer():
    """One METEOR for all tests: it loads for seconds."""
    with CaptionScorer(REFERENCES, metrics=("METEOR", "CIDEr")) as scorer:
        yield scorer


@pytest.mark.java
def test_separators_in_tokens_do_not_shift_meteors_fields(scorer):
    tokens = {"1": ["a dog ||| runs", "a dog runs"]}
    process = scorer._meteor
    expected = process.score({"1": ["a dog runs", "a dog runs"]}, {"1": "the dog runs"})
    assert process.score(tokens, {"1": "the ||| dog runs"}) == expected


@pytest.mark.java
def test_a_dead_meteor_leaves_the_others_standing_and_comes_back(scorer):
    before = scorer.score(PREDICTIONS).corpus
    scorer._meteor._process.kill()
    scores = scorer.score(PREDICTIONS)
    assert scores.corpus["METEOR"] is None and "METEOR failed" in scores.unavailable["METEOR"]
    assert "METEOR" not in scores.per_image
    assert {**scores.corpus, "METEOR": before["METEOR"]} == before
    assert scorer.score(PREDICTIONS).corpus == before


@pytest.mark.java
def test_one_meteor_serves_scorer_after_scorer_and_ends_with_python(scorer, monkeypatch):
    monkeypatch.setattr(meteor, "_warm", [])
    process = scorer._meteor
    scorer.close()
    scorer.close()
    assert meteor._warm == [process]
    with CaptionScorer(REFERENCES, metrics=("METEOR",)) as other:
        assert other._meteor is process and not meteor._warm
        warm = other.score(PREDICTIONS).corpus
    assert scorer.score(PREDICTIONS).corpus["METEOR"] == warm["METEOR"] and scorer._meteor is process
    scorer.close()
    meteor.close_warm_meteors()
    assert not process.runs() and not meteor._warm
    meteor.give_back_meteor(process)  # a dead one is of no use
    assert not meteor._warm


@pytest.mark.java
def test_a_silent_meteor_is_stopped(monkeypatch):
    monkeypatch.setattr(meteor, "_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(meteor, "_warm", [])  # a loaded one would answer in time
    scores = score_captions(PREDICTIONS, REFERENCES, metrics=("METEOR", "CIDEr"))
    assert "no answer in 0.2 seconds" in scores.unavailable["METEOR"]
    assert scores.corpus["CIDEr"] > 0
