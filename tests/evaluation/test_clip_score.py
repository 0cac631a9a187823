"""CLIPScore against the paper's equations in a loop, and taken from a store with the encoder that made it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from evaluation import clip_score as room
from evaluation.clip_score import ClipScoring, clip_score, ref_clip_score, score_with_store
from evaluation.judging import with_clip_scores
from evaluation.metrics import CaptionScores


def unit(*shape: int, seed: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def slow(image, caption, references, weight) -> tuple[float, float]:
    """Equations 1 and the one after it: CLIP-S and RefCLIP-S of one caption."""
    ours = weight * max(float(image @ caption), 0)
    best = max(max(float(reference @ caption) for reference in references), 0)
    return ours, 2 * ours * best / (ours + best) if ours + best else 0.0


@pytest.fixture
def store(make_store, word_encoder, monkeypatch):
    """A store whose encoder can be loaded; `loaded` lists with what."""
    store = make_store()
    store.loaded = []
    monkeypatch.setattr(
        room, "reload_encoder", lambda description: store.loaded.append(description) or word_encoder(store.dim)
    )
    return store


def test_equals_the_equations():
    images, captions, references = unit(20, 3, seed=0), unit(20, 3, seed=1), unit(50, 3, seed=2)
    image_row = torch.arange(50) % 20
    references[image_row == 4] = -captions[4]  # all cosines negative
    scores = clip_score(images, captions, 2.5)
    both = ref_clip_score(scores, captions, references, image_row)
    expected = [slow(images[n], captions[n], references[image_row == n], 2.5) for n in range(20)]
    np.testing.assert_allclose(torch.stack([scores, both], dim=1), expected, atol=1e-6)
    assert (scores == 0).any() and both[4] == 0 and (both > 0).any()


@pytest.mark.parametrize("prefix", ["", "A photo depicts", "A photo depicts "])
def test_images_and_references_come_from_the_store(store, prefix, word_encoder):
    ids, encoder = store.image_ids("test"), word_encoder(store.dim)
    captions = {image_id: f"a dog on a beach {n}" for n, image_id in enumerate(reversed(ids[5:]))}  # some, turned round
    scores = score_with_store(captions, store, "test", ClipScoring(prefix=prefix, weight=2.0))
    assert store.loaded == [store.manifest["encoder"]]
    images, texts, image_row = store.images("test"), store.texts("test"), store.pairs("test")
    for n, (image_id, caption) in enumerate(captions.items()):
        row = ids.index(image_id)
        [bare] = encoder.encode_texts([caption])
        [prefixed] = encoder.encode_texts([f"A photo depicts {caption}"] if prefix else [caption])
        ours, _ = slow(images[row], prefixed, texts[image_row == row], 2.0)
        best = max(0, max(float(bare @ reference) for reference in texts[image_row == row]))
        assert scores["CLIPScore"][n] == pytest.approx(ours, abs=1e-5)
        assert scores["RefCLIPScore"][n] == pytest.approx(2 * ours * best / (ours + best), abs=1e-5)


def test_a_reference_that_was_read_is_left_out(store):
    ids, pairs = store.image_ids("test"), torch.from_numpy(store.pairs("test"))
    first = torch.tensor([int((pairs == row).nonzero()[0]) for row in range(len(ids))])
    texts = store.captions("test")
    captions = {image_id: texts[row] for image_id, row in zip(ids, first.tolist(), strict=True)}
    everything = score_with_store(captions, store, "test", ClipScoring(prefix=""))
    others = score_with_store(captions, store, "test", ClipScoring(prefix=""), left_out=first)
    assert torch.equal(everything["CLIPScore"], others["CLIPScore"])
    assert (others["RefCLIPScore"] < everything["RefCLIPScore"]).all()  # its own text is the nearest there is
    lonely = score_with_store(captions, store, "test", left_out=torch.arange(len(texts)))
    assert list(lonely) == ["CLIPScore"]


def test_what_stops_clip_score_stops_no_other_metric(store, monkeypatch):
    ids = store.image_ids("test")
    captions = dict.fromkeys(ids, "a dog")
    scores = CaptionScores({"CIDEr": 1.0}, {"CIDEr": np.ones(40)}, ids)
    found = with_clip_scores(scores, captions, store, "test", ClipScoring())
    assert found.corpus["CIDEr"] == 1 and found.corpus["CLIPScore"] == pytest.approx(
        found.per_image["CLIPScore"].mean()
    )
    assert found.percent()["CLIPScore"] == 100 * found.corpus["CLIPScore"] and not found.unavailable

    def gone(description):
        raise ValueError("The weights are gone")

    monkeypatch.setattr(room, "reload_encoder", gone)
    found = with_clip_scores(scores, captions, store, "test", ClipScoring())
    assert found.corpus == {"CIDEr": 1.0, "CLIPScore": None, "RefCLIPScore": None}
    assert set(found.unavailable.values()) == {"The weights are gone"} and list(found.per_image) == ["CIDEr"]


def test_bad_input(store):
    with pytest.raises(ValueError, match=r"has no image 'elsewhere' in its split 'test' \(1 of 2 are missing\)"):
        score_with_store({"test_0": "a dog", "elsewhere": "a cat"}, store, "test")
    with pytest.raises(ValueError, match=r"clip_score.weight=0 must be positive"):
        ClipScoring(weight=0)
