"""Captions judged by the names of classes."""

from __future__ import annotations

import pytest

from evaluation.captions.class_words import class_accuracy, labels_from_captions
from evaluation.captions.metrics import score_captions
from evaluation.captions.scoring_options import Scoring

CLASSES = ("a dog barking", "rain", "a fire crackling")
REFERENCES = {
    "a": ["A dog barking.", "one can hear a dog barking"],
    "b": ["rain", "the sound of rain"],
    "c": ["a fire crackling"],
    "d": ["rain is heard"],
}
CAPTIONS = {"a": "One can hear a dog barking!", "b": "a fire crackling in the rain", "c": "a train", "d": "Rains."}


def test_a_caption_names_its_class_and_no_other():
    assert class_accuracy(REFERENCES, CAPTIONS, CLASSES).tolist() == [1, 0, 0, 1]  # b names two, c none
    assert class_accuracy(REFERENCES, dict(reversed(CAPTIONS.items())), CLASSES).tolist() == [1, 0, 0, 1]
    assert class_accuracy(REFERENCES, {"b": "rain"}, CLASSES).tolist() == [1]


def test_it_is_a_metric_among_the_others():
    scores = score_captions(CAPTIONS, REFERENCES, ["CIDEr", "classes"], classes=CLASSES)
    assert scores.corpus["class accuracy"] == 0.5 and scores.corpus["CIDEr"] is not None
    assert scores.per_image["class accuracy"].tolist() == [1, 0, 0, 1]


def test_references_that_name_no_class_alone_stop_this_metric_only(caplog):
    references = REFERENCES | {"d": ["rain puts out a fire crackling"]}
    scores = score_captions(CAPTIONS, references, ["CIDEr", "classes"], classes=CLASSES)
    assert scores.corpus["class accuracy"] is None and scores.corpus["CIDEr"] is not None
    assert "of 1 images (the first is d) do not name one class alone" in scores.unavailable["class accuracy"]


def test_classes_must_be_named_for_it_and_are_recorded():
    with pytest.raises(ValueError, match=r"needs the words of two classes at least.*but classes=\[\]"):
        Scoring(["CIDEr", "classes"])
    with pytest.raises(ValueError, match=r"classes=\['rain', 'rain'\]"):
        Scoring(["CIDEr", "classes"], classes=("rain", "rain"))
    assert Scoring(["CIDEr", "classes"], classes=CLASSES).inputs()["classes"] == list(CLASSES)
    assert "classes" not in Scoring(["CIDEr"]).inputs()


def test_labels_are_of_images_whose_captions_name_one_class():
    references = {
        "1": ["A Dog runs.", "an animal"],
        "2": ["two dogs and a cat"],
        "3": ["doggedly catlike", "hot  dog-stand"],
        "4": ["polar bears!", "buses"],
        "5": ["the polar", "bear"],  # in two captions
        "6": ["two buses"],
    }
    classes = ["dog", "cat", "polar bear", "bus"]
    assert labels_from_captions(references, classes) == {"1": 0, "6": 3}
