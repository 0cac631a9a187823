"""Trainings that go on from a generator (option init_from)."""

from __future__ import annotations

import json

import pytest
import torch

from image_generation.generator import ImageGenerator
from image_generation.training_run import train


@pytest.fixture
def first(training_config, tmp_path):
    train(training_config("first"))
    return tmp_path / "first"


def same_weights(one, other) -> bool:
    ours, theirs = (ImageGenerator.load(folder).network.state_dict() for folder in (one, other))
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_training_starts_from_its_weights_under_another_alignment(training_config, first, tmp_path):
    steps = ("loop.steps=1", "loop.learning_rate=1e-30")
    train(training_config("still", f"init_from={first}", "alignment=c2_collapse", *steps))
    assert same_weights(first, tmp_path / "still")
    provenance = ImageGenerator.load(tmp_path / "still").provenance
    assert provenance["alignment"] == "c2_collapse" and provenance["init_from"]["alignment"] == "c3"
    assert provenance["uses_pairs"] is False
    train(training_config("moved", f"init_from={first}", "loop.steps=3"))
    assert not same_weights(first, tmp_path / "moved")


def test_where_a_metric_chooses_those_of_the_start_may_be_the_best(training_config, first, tmp_path):
    train(training_config("worse", f"init_from={first}", "loop.keep=validation_loss", "loop.learning_rate=1"))
    assert same_weights(first, tmp_path / "worse")


def test_pairs_of_the_start_are_remembered(training_config, first, tmp_path):
    path = first / "config.json"
    config = json.loads(path.read_text())
    config["provenance"]["uses_pairs"] = True
    path.write_text(json.dumps(config))
    train(training_config("more", f"init_from={first}", "loop.steps=1"))
    assert ImageGenerator.load(tmp_path / "more").provenance["uses_pairs"] is True


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("network.layers=2", "has network.layers=1, here it is 2: give network.layers the same value"),
        ("predicts=picture", "has predicts='velocity', here it is 'picture'"),
    ],
)
def test_another_network_is_refused(training_config, first, override, message):
    with pytest.raises(ValueError, match=message):
        train(training_config("other", f"init_from={first}", override))


def test_dropout_and_size_are_free(training_config, first):
    train(training_config("large", f"init_from={first}", "network.dropout=0.1", "size=32", "loop.steps=1"))


def test_there_must_be_one_of_the_same_encoder(training_config, first, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"init_from=.*nowhere"):
        train(training_config("run", f"init_from={tmp_path / 'nowhere'}"))
    path = first / "config.json"
    path.write_text(path.read_text().replace(json.loads(path.read_text())["encoder"]["name"], "another"))
    with pytest.raises(ValueError, match=r"reads embeddings of .*another.*choose the same encoder's store"):
        train(training_config("run", f"init_from={first}"))


def test_another_start_is_another_run(training_config, first, tmp_path):
    train(training_config("run", f"init_from={first}", "loop.steps=1"))
    train(training_config("second", "seed=1"))
    with pytest.raises(ValueError, match="init_from"):
        train(training_config("run", f"init_from={tmp_path / 'second'}", "loop.steps=1"))
