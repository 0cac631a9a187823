"""CLIPScore against the paper's equations in a loop, and taken from a store with the encoder that made it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from evaluation.captions import clip_score as room
from evaluation.captions.clip_score import ClipScoring, clip_score, ref_clip_score, score_with_store
from evaluation.captions.extra_scores import with_clip_scores
from evaluation.captions.metrics import CaptionScores


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


def authors_scores(encoder, image, caption, references, prefix, weight) -> tuple[float, float]:
    """What jmhessel/clipscore computes of one caption, in NumPy: the prefix stands before candidate and references."""
    texts = [f"{prefix.rstrip()} {text}" if prefix else text for text in (caption, *references)]
    candidate, *others = (row / np.linalg.norm(row) for row in encoder.encode_texts(texts).double().numpy())
    image = image.double().numpy()
    score = weight * np.clip(np.sum(image / np.linalg.norm(image) * candidate), 0, None)
    best = max(float(candidate @ other) for other in others)
    return score, 2 * score * best / (score + best)


@pytest.mark.parametrize("prefix", ["", "A photo depicts", "A photo depicts "])
def test_both_scores_are_the_authors(store, prefix, word_encoder):
    ids, encoder, references = store.image_ids("test"), word_encoder(store.dim), store.tables.references("test")
    captions = {image_id: f"a dog on a beach {n}" for n, image_id in enumerate(reversed(ids[5:]))}  # some, turned round
    scored = score_with_store(captions, references, store, "test", ClipScoring(prefix=prefix, weight=2.0))
    assert store.loaded == [store.manifest.encoder]
    for n, (image_id, caption) in enumerate(captions.items()):
        image = store.images("test")[ids.index(image_id)]
        ours, both = authors_scores(encoder, image, caption, references[image_id], prefix, 2.0)
        assert scored.values["CLIPScore"][n] == pytest.approx(ours, abs=1e-3)  # stored images are float16
        assert scored.values["RefCLIPScore"][n] == pytest.approx(both, abs=1e-3)
    assert scored.cut_texts == {"captions": 0, "references": 0}


def test_the_caption_that_is_a_reference_has_a_cosine_of_one_to_it(store):
    references = store.tables.references("test")
    captions = {image_id: sentences[0] for image_id, sentences in references.items()}
    values = score_with_store(captions, references, store, "test").values
    expected = 2 * values["CLIPScore"] / (values["CLIPScore"] + 1)
    torch.testing.assert_close(values["RefCLIPScore"], expected, atol=1e-5, rtol=0)
    others = score_with_store(captions, {i: sentences[1:] for i, sentences in references.items()}, store, "test").values
    assert torch.equal(values["CLIPScore"], others["CLIPScore"])
    assert (others["RefCLIPScore"] < values["RefCLIPScore"]).all()


def test_texts_that_the_encoder_cuts_are_counted_and_told(store, word_encoder, monkeypatch):
    class Short(word_encoder):
        def cut_texts(self, texts):
            return sum(len(text.split()) > 12 for text in texts)

    monkeypatch.setattr(room, "reload_encoder", lambda description: Short(store.dim))
    monkeypatch.setattr(room, "_references", {})
    references = store.tables.references("test")
    ids = list(references)
    captions = dict.fromkeys(ids, "a dog") | {ids[0]: "very " * 10 + "long"}  # 11 words, and 3 of the prefix
    references[ids[1]] = ["one " * 13, "a cat", "two " * 13]
    scores, facts = with_clip_scores(plain_scores(ids), captions, references, store, "test", ClipScoring())
    assert facts.cut_texts == {"captions": 1, "references": 2}
    assert any("1 captions and 2 references" in warning for warning in scores.warnings)


def plain_scores(ids: list[str]) -> CaptionScores:
    return CaptionScores({"CIDEr": 1.0}, {"CIDEr": np.ones(len(ids))}, ids)


def test_what_stops_clip_score_stops_no_other_metric(store, monkeypatch):
    ids, references = store.image_ids("test"), store.tables.references("test")
    captions = dict.fromkeys(ids, "a dog")
    scores = plain_scores(ids)
    scored, _ = with_clip_scores(scores, captions, references, store, "test", ClipScoring())
    assert scored.corpus["CIDEr"] == 1 and scored.corpus["CLIPScore"] == pytest.approx(
        scored.per_image["CLIPScore"].mean()
    )
    assert scored.percent()["CLIPScore"] == 100 * scored.corpus["CLIPScore"] and not scored.unavailable

    def gone(description):
        raise ValueError("The weights are gone")

    monkeypatch.setattr(room, "reload_encoder", gone)
    scored, facts = with_clip_scores(scores, captions, references, store, "test", ClipScoring())
    assert facts.encoder == store.manifest.encoder
    assert scored.corpus == {"CIDEr": 1.0, "CLIPScore": None, "RefCLIPScore": None}
    assert set(scored.unavailable.values()) == {"The weights are gone"} and list(scored.per_image) == ["CIDEr"]


def test_bad_input(store):
    with pytest.raises(ValueError, match=r"has no image 'elsewhere' in its split 'test' \(1 of 2 are missing\)"):
        score_with_store({"test_0": "a dog", "elsewhere": "a cat"}, {}, store, "test")
    with pytest.raises(ValueError, match=r"clip_score.weight=0 must be greater than 0"):
        ClipScoring(weight=0)
