"""SPIDEr and FENSE, the metrics of captions of sounds. SPICE's models and aac-metrics are stand-ins."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from evaluation.captions import metrics
from evaluation.captions.metrics import score_captions
from evaluation.captions.scoring_options import Scoring

REFERENCES = {"1": ["a dog barks", "a Dog is barking!"], "2": ["rain falls on a roof"], "3": ["a siren wails"]}
CAPTIONS = {"2": "rain falls", "1": "a dog barks.", "3": "a bell"}


@pytest.fixture
def aac_metrics(monkeypatch):
    """A stand-in for aac-metrics, which gives the captions' lengths; returns what it was called with."""
    calls = []

    def fense(candidates, mult_references):
        calls.append((candidates, mult_references))
        each = {"sbert_sim": torch.tensor([float(len(caption)) for caption in candidates]) / 100}
        each |= {"fer": torch.zeros(len(candidates)), "fense": each["sbert_sim"]}
        return {name: values.mean() for name, values in each.items()}, each

    module = ModuleType("aac_metrics.functional.fense")
    module.fense = fense  # pyright: ignore[reportAttributeAccessIssue]
    for name in ("aac_metrics", "aac_metrics.functional"):
        package = ModuleType(name)
        package.__path__ = []
        package.__spec__ = __spec__
        monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


def test_fense_reads_captions_as_they_were_written(aac_metrics):
    scores = score_captions(CAPTIONS, REFERENCES, ["FENSE", "CIDEr"])
    assert aac_metrics == [(["a dog barks.", "rain falls", "a bell"], list(REFERENCES.values()))]
    assert scores.image_ids == ["1", "2", "3"] and list(scores.corpus) == ["FENSE", "SBERT", "FER", "CIDEr"]
    assert scores.per_image["FENSE"] == pytest.approx([0.12, 0.10, 0.06]) and scores.corpus["FER"] == 0
    assert scores.percent()["FENSE"] == pytest.approx(28 / 3)


def test_spider_is_the_mean_of_cider_and_spice(monkeypatch):
    monkeypatch.setattr(metrics, "spice_scores", lambda *_: (0.2, [0.1, 0.2, 0.3]))
    scores = score_captions(CAPTIONS, REFERENCES, ["SPIDEr"])
    cider = score_captions(CAPTIONS, REFERENCES, ["CIDEr"])
    assert list(scores.corpus) == list(scores.per_image) == ["SPIDEr"] and not scores.unavailable
    assert scores.corpus["SPIDEr"] == pytest.approx((cider.corpus["CIDEr"] + 0.2) / 2)  # pyright: ignore[reportOptionalOperand]
    assert scores.per_image["SPIDEr"] == pytest.approx((cider.per_image["CIDEr"] + np.array([0.1, 0.2, 0.3])) / 2)


def test_they_stop_no_other_metric(monkeypatch):
    def no_models(*_):
        raise OSError("no network")

    monkeypatch.setattr(metrics, "spice_scores", no_models)
    monkeypatch.setitem(sys.modules, "aac_metrics", None)
    scores = score_captions(CAPTIONS, REFERENCES, ["BLEU", "SPIDEr", "FENSE"])
    assert scores.corpus["BLEU-1"] and scores.corpus["SPIDEr"] is scores.corpus["FER"] is None
    assert "no network" in scores.unavailable["SPIDEr"] and "SPICE" not in scores.unavailable
    assert '.[aac]"' in scores.unavailable["FENSE"]


def test_they_are_named_to_be_measured():
    assert not {"SPIDEr", "FENSE"} & set(Scoring().metrics)
    assert Scoring(["SPIDEr"]).metrics == ["SPIDEr"]
