"""SPICE without its models, on a Java that is too new, and with a cache that cannot be used."""

from __future__ import annotations

import json

import pytest

from evaluation.captions import cache, java, spice
from evaluation.captions.metrics import score_captions

TOKENS = {"1": ["a cat", "the cat"], "2": ["a dog"]}
CAPTIONS = {"1": "a cat", "2": "a dog"}


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """SPICE as if it were installed: what it is called with; it fails with a cache, if `fails` is among the calls."""
    calls = []

    def run(*arguments, timeout_seconds):
        calls.append(arguments)
        if "fails" in calls[0] and "-cache" in arguments:
            raise java.JavaError("the cache is locked")
        out = arguments[arguments.index("-out") + 1]
        with open(out, "w", encoding="utf-8") as file:
            json.dump([{"image_id": n, "scores": {"All": {"f": 0.5}}} for n in range(2)], file)

    for name in spice._MODELS:
        (tmp_path / "jars/spice/lib").mkdir(parents=True, exist_ok=True)
        (tmp_path / "jars/spice/lib" / name).touch()
    monkeypatch.setattr(spice, "pycocoevalcap_folder", lambda: tmp_path / "jars")
    monkeypatch.setattr(spice, "java_version", lambda java: 8)
    monkeypatch.setattr(spice, "find_java", lambda: "java")
    monkeypatch.setattr(spice, "run_java", run)
    monkeypatch.setattr(cache, "_warned", set())
    return calls


def test_spice_goes_without_a_cache_that_cannot_be_used(calls, tmp_path, caplog):
    for folder in ("/proc/none", "/proc/none", tmp_path / "cache"):
        assert spice.spice_scores(TOKENS, CAPTIONS, folder)[0] == 0.5
    assert ["-cache" in call for call in calls] == [False, False, True]
    assert len(caplog.records) == 1 and "/proc/none" in caplog.text


def test_spice_is_run_again_without_a_cache_that_stops_it(calls, tmp_path, caplog):
    calls.append(("fails",))
    assert spice.spice_scores(TOKENS, CAPTIONS, tmp_path / "cache")[0] == 0.5
    assert ["-cache" in call for call in calls[1:]] == [True, False]
    assert "the cache is locked" in caplog.text


@pytest.mark.java
def test_spice_without_models_is_null_with_the_command_that_gets_them():
    scores = score_captions(CAPTIONS, TOKENS, metrics=("SPICE", "BLEU"))
    if scores.corpus["SPICE"] is None:  # a machine with the models and an old Java has a figure
        reason = scores.unavailable["SPICE"]
        assert "get_stanford_models" in reason or "Java 16" in reason
    assert scores.corpus["BLEU-1"] > 0


def test_spice_names_a_java_that_is_too_new(tmp_path, monkeypatch):
    (tmp_path / "spice/lib").mkdir(parents=True)
    for name in spice._MODELS:
        (tmp_path / "spice/lib" / name).touch()
    monkeypatch.setattr(spice, "pycocoevalcap_folder", lambda: tmp_path)
    monkeypatch.setattr(spice, "java_version", lambda _: 17)
    monkeypatch.setattr(spice, "find_java", lambda: "java")
    with pytest.raises(java.JavaError, match=r"Java 16 or newer \(found 17\): put Java 8 or 11"):
        spice.spice_scores({"1": ["a"]}, {"1": "a"})
