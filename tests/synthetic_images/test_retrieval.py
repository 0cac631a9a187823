"""Photos for captions: the same as by a slow reference, and never a caption's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from common.processes import Processes
from embedding_space.tables import read_tables
from synthetic_images import retrieval
from synthetic_images.painter import UNPAIRED_PHOTOS, Commission
from synthetic_images.retrieval import RetrievalOptions, RetrievalPainter, choose_images


def reference(texts, images, own, neighbors, captions_back):
    """Caption by caption, as SynC's script does it."""
    chosen, scores = [], []
    for row, text in enumerate(texts):
        order = sorted((j for j in range(len(images)) if j != own[row]), key=lambda j: -float(images[j] @ text))
        best, best_score = -1, -2.0
        for j in order[:neighbors]:
            back = sorted(range(len(texts)), key=lambda k: -float(texts[k] @ images[j]))[:captions_back]
            score = max(float(texts[k] @ text) for k in back)
            if score > best_score + 1e-7:
                best, best_score = j, score
        chosen.append(best)
        scores.append(best_score)
    return chosen, scores


def unit(*shape, seed):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize(("neighbors", "captions_back"), [(1, 1), (4, 2), (50, 3)])
def test_images_are_those_of_the_slow_reference(monkeypatch, neighbors, captions_back):
    texts, images = unit(40, 8, seed=0), unit(13, 8, seed=1)
    own = torch.arange(40) % 16
    own[own >= 13] = -1
    monkeypatch.setattr(retrieval, "ELEMENTS_AT_ONCE", 200)  # several parts
    chosen = choose_images(texts, images, own, neighbors, captions_back)
    expected, scores = reference(texts, images, own, neighbors, captions_back)
    assert chosen.images.tolist() == expected
    assert chosen.scores.tolist() == pytest.approx(scores, abs=1e-6)
    assert (chosen.images != own).all()


def test_a_caption_gets_the_image_that_retrieves_it():
    texts = torch.eye(4)
    images = F.normalize(torch.eye(4) + 0.1, dim=-1).flip(0)
    chosen = choose_images(texts, images, torch.full((4,), -1), neighbors=4, captions_back=1)
    assert chosen.images.tolist() == [3, 2, 1, 0] and chosen.scores.tolist() == [1.0] * 4
    alone = choose_images(texts[:1], images[:1], torch.tensor([-1]), neighbors=15, captions_back=2)
    assert alone.images.tolist() == [0]
    with pytest.raises(ValueError, match="1 photos are too few"):
        choose_images(texts[:1], images[:1], torch.tensor([0]), 15, 2)


def commission(store, split):
    tables = read_tables(store.path.parent)
    rows = tables.caption_rows(split)
    return Commission(tables, split, rows, np.arange(len(rows)), seed=0)


@pytest.mark.parametrize("center", [True, False])
def test_painting_takes_the_best_share_and_points_to_the_photos(make_store, tmp_path, center):
    store = make_store()
    painter = RetrievalPainter(store, RetrievalOptions("pretrain", neighbors=5, keep=0.6, center=center))
    painting = painter.paint(commission(store, "train"), store.path.parent.parent / "tiny_retrieval", Processes())
    texts, images = store.texts("train"), store.images("pretrain")
    if center:
        texts, images = (
            F.normalize(rows - store.mean(kind), dim=-1) for rows, kind in ((texts, "text"), (images, "image"))
        )
    chosen = choose_images(texts, images, torch.full((200,), -1), 5, 2)
    assert len(painting.kept) == 120 and (np.diff(painting.kept) > 0).all()
    left_out = np.setdiff1d(np.arange(200), painting.kept)
    assert chosen.scores[painting.kept].min() >= chosen.scores[left_out].max()
    expected = [f"../tiny/images/pretrain_{chosen.images[kept]}.txt" for kept in painting.kept]
    assert painting.paths == expected and painting.defects is None
    assert painter.images == UNPAIRED_PHOTOS and painter.options()["store"] == store.hash


def test_no_caption_gets_its_own_photo(make_store):
    store = make_store()
    painting = RetrievalPainter(store, RetrievalOptions("pretrain", keep=1.0)).paint(
        commission(store, "pretrain"), store.path.parent.parent / "out", Processes()
    )
    own = [f"../tiny/images/{image_id}.txt" for image_id in store.image_ids("pretrain") for _ in range(2)]
    assert len(painting.paths) == 80 and not any(mine == path for mine, path in zip(own, painting.paths, strict=True))


def test_held_out_photos_and_options_out_of_range_are_refused(make_store):
    with pytest.raises(ValueError, match=r"painter\.images_split=test: training data"):
        RetrievalPainter(make_store(), RetrievalOptions("test"))
    with pytest.raises(ValueError, match=r"painter\.keep=0.* must be greater than 0"):
        RetrievalOptions("train", keep=0.0)
