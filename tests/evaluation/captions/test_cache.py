"""A cache that cannot be used costs time and one warning, not a result."""

from __future__ import annotations

import json

import pytest

from evaluation.captions import cache, java, spice
from evaluation.captions import ptb_tokenizer as tokenizer
from evaluation.captions.ptb_tokenizer import tokenize_references

REFERENCES = {"1": ["A cat", "The cat"], "2": ["A dog"]}
TOKENS = {"1": ["a cat", "the cat"], "2": ["a dog"]}


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(tokenizer, "ptb_tokenize", lambda captions: [caption.lower() for caption in captions])
    monkeypatch.setattr(cache, "_warned", set())


@pytest.fixture(params=["no such device", "a file in the way", "no room"])
def unusable(request, tmp_path, monkeypatch):
    if request.param == "no such device":
        return "/proc/none"
    if request.param == "a file in the way":
        (tmp_path / "cache").write_text("")
        return tmp_path / "cache" / "references"

    def full(self, *arguments, **options):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    return tmp_path / "full"


def test_tokens_come_without_it_and_it_is_said_once(unusable, tmp_path, caplog):
    for _ in range(2):
        assert tokenize_references(REFERENCES, unusable) == TOKENS
    [said] = [record.getMessage() for record in caplog.records]
    assert str(unusable) in said and "cache_dir=" in said
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    "damaged", ["", "{", "[]", "null", '{"1": ["a cat"], "2": ["a dog"]}', '{"1": [1, 2], "2": [3]}']
)
def test_a_damaged_file_is_made_anew(damaged, tmp_path):
    assert tokenize_references(REFERENCES, tmp_path) == TOKENS
    [path] = tmp_path.iterdir()
    path.write_text(damaged)
    assert tokenize_references(REFERENCES, tmp_path) == TOKENS
    assert json.loads(path.read_text()) == TOKENS


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
    return calls


def test_spice_goes_without_a_cache_that_cannot_be_used(calls, tmp_path, caplog):
    for folder in ("/proc/none", "/proc/none", tmp_path / "cache"):
        assert spice.spice_scores(TOKENS, {"1": "a cat", "2": "a dog"}, folder)[0] == 0.5
    assert ["-cache" in call for call in calls] == [False, False, True]
    assert len(caplog.records) == 1 and "/proc/none" in caplog.text


def test_spice_is_run_again_without_a_cache_that_stops_it(calls, tmp_path, caplog):
    calls.append(("fails",))
    assert spice.spice_scores(TOKENS, {"1": "a cat", "2": "a dog"}, tmp_path / "cache")[0] == 0.5
    assert ["-cache" in call for call in calls[1:]] == [True, False]
    assert "the cache is locked" in caplog.text
