"""Zero-shot classification against a slow loop over images and classes, and labels read from captions."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from evaluation.embeddings import zero_shot as room
from evaluation.embeddings.zero_shot import class_embeddings, class_prompts, zero_shot_scores


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_prompts_and_their_means():
    assert class_prompts(["dog", "cat"], ["a photo of a {}.", "one {}"]) == [
        "a photo of a dog.", "one dog", "a photo of a cat.", "one cat"
    ]  # fmt: skip
    rows = unit(6, 4)
    expected = [normalize((rows[n] + rows[n + 1] + rows[n + 2]) / 3, dim=0) for n in (0, 3)]
    torch.testing.assert_close(class_embeddings(rows, templates=3), torch.stack(expected))


@pytest.mark.parametrize("at_once", [8192, 7])
def test_equals_a_slow_loop(monkeypatch, at_once):
    monkeypatch.setattr(room, "_IMAGES_AT_ONCE", at_once)
    images, classes = unit(60, 5), unit(9, 5, seed=1)
    labels = torch.randint(0, 8, (60,), generator=torch.Generator().manual_seed(2))  # class 8 has no image
    right, among_five, by_class = 0, 0, {}
    for image, label in zip(images, labels.tolist(), strict=True):
        order = sorted(range(9), key=lambda n: -float(image @ classes[n]))
        right += order[0] == label
        among_five += label in order[:5]
        by_class.setdefault(label, []).append(order[0] == label)
    scores = zero_shot_scores(images, classes, labels)
    assert scores.top_1 == pytest.approx(right / 60) and scores.top_5 == pytest.approx(among_five / 60)
    means = [sum(hits) / len(hits) for hits in by_class.values()]
    assert scores.mean_per_class == pytest.approx(sum(means) / len(means))
    assert (scores.images, scores.classes) == (60, 9)
    precisions = []
    for label in by_class:
        nearest = sorted(range(60), key=lambda n: -float(images[n] @ classes[label]))[: len(by_class[label])]
        precisions.append(sum(int(labels[n]) == label for n in nearest) / len(nearest))
    assert scores.r_precision == pytest.approx(sum(precisions) / len(precisions))


def test_embeddings_that_say_nothing_score_nothing():
    same = unit(1, 4).expand(10, -1)
    scores = zero_shot_scores(same, same[:6], torch.arange(10) % 6)
    assert scores.top_1 == scores.top_5 == scores.r_precision == 0


@pytest.mark.parametrize(
    ("classes", "templates", "message"),
    [
        (["dog"], ["a {}"], "two or more"),
        (["dog", "dog"], ["a {}"], "each once"),
        (["dog", "cat"], ["a photo"], r"hold \{\} once"),
        (["dog", "cat"], [], r"hold \{\} once"),
    ],
)
def test_bad_prompts(classes, templates, message):
    with pytest.raises(ValueError, match=message):
        class_prompts(classes, templates)


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], []])
def test_labels_must_be_classes(labels):
    with pytest.raises(ValueError, match="labels, from 0 to 2"):
        zero_shot_scores(unit(len(labels), 4), unit(3, 4), torch.tensor(labels, dtype=torch.int64))
