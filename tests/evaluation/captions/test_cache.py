"""A cache that cannot be used costs time and one warning, not a result."""

from __future__ import annotations

import json

import pytest

from evaluation.captions import cache
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
    [message] = [record.getMessage() for record in caplog.records]
    assert str(unusable) in message and "cache_dir=" in message
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
