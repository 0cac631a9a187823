"""Captions of a split, whoever wrote them, scored without a captioner."""

from __future__ import annotations

import pytest

from evaluation.captions import metrics
from evaluation.captions.metrics import score_captions
from evaluation.captions.score_split import score_split
from evaluation.captions.scoring_options import Scoring


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(metrics, "ptb_tokenize", list)  # the store's captions are lower-case words already
    monkeypatch.setattr(
        metrics, "tokenize_references", lambda references, _: {i: list(c) for i, c in references.items()}
    )


def test_captions_of_anybody_are_scored_against_the_split(make_store):
    store = make_store()
    references = store.tables.references("test")
    predictions = dict(zip(references, store.captions("train"), strict=False))
    result = score_split(predictions, store, "test", Scoring(["CIDEr", "nouns"]))
    assert result.metrics == score_captions(predictions, references, ["CIDEr", "nouns"]).percent()
    assert result.images == 40 and result.diversity.different_captions <= 1 and result.per_image["CIDEr"]
    assert "nobody said" in result.training_text.unavailable and result.checkpoint is None
    del predictions["test_0"]
    with pytest.raises(ValueError, match=r"1 image \(test_0\) with references but without a prediction"):
        score_split(predictions, store, "test", Scoring(["CIDEr"]))
    with pytest.raises(ValueError, match="no images of split 'dev'"):
        score_split(predictions, store, "dev")
