"""Means of the nearest other texts, against a slow loop, on both sides, and in a checkpoint."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from alignment.chain import Alignment
from alignment.memory import TextMemory
from alignment.nearest_texts import COPY, NearestTexts
from alignment.options import step_entries
from alignment.steps import Normalize
from embedding_space.store import EmbeddingStore
from image_captioning.alignments import STEPS

NORMALIZE = {"step": "Normalize"}
SETTINGS = [
    {"neighbors": 3},
    {"neighbors": 3, "temperature": 0.1},
    {"neighbors": None, "temperature": 0.05},
    {"neighbors": 3, "query_noise_std": 0.2},
    {"neighbors": None, "temperature": 0.05, "query_noise_std": 0.2},
]


def seeded(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator)


def chain_of(store, **options) -> Alignment:
    return Alignment.from_store([NORMALIZE, {"step": "NearestTexts", **options}, NORMALIZE], STEPS, store)


def slow_mean(query, texts, itself=None, neighbors=None, temperature=None, **_) -> torch.Tensor:
    """The mean for one row, text by text."""
    others = [text for text in texts if itself is None or float(text @ itself) < COPY]
    others = sorted(others, key=lambda text: -float(query @ text))[:neighbors]
    scores = torch.stack([query @ text for text in others])
    weights = torch.ones(len(others)) if temperature is None else (scores / temperature).softmax(0)
    total = sum(weight * text for weight, text in zip(weights, others, strict=True))
    return total / total.norm()


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_both_sides_are_the_mean_of_the_nearest_texts_without_the_text_itself(make_store, options):
    store = make_store(texts=60)
    chain = chain_of(store, **options)
    texts = F.normalize(store.texts("train"), dim=-1)
    queries = F.normalize(texts + options.get("query_noise_std", 0.0) * seeded(4)(texts), dim=-1)
    for row, query, text in zip(chain.training_side(texts, seeded(4)), queries, texts, strict=True):
        torch.testing.assert_close(row, slow_mean(query, texts, text, **options), atol=2e-5, rtol=0)
    images = F.normalize(store.images("test"), dim=-1)
    for row, image in zip(chain.inference_side(images), images, strict=True):  # no noise, and nothing left out
        torch.testing.assert_close(row, slow_mean(image, texts, **options), atol=2e-5, rtol=0)


def test_no_text_is_among_its_neighbors_nor_is_a_copy_of_it():
    step = NearestTexts(neighbors=1, rows=4, dim=3)
    first, near, far = F.normalize(torch.tensor([[1.0, 0, 0], [0.9, 0.1, 0], [0, 0.1, 1.0]]), dim=-1)
    step.memory.copy_(torch.stack([first, first, near, far]))
    rows = torch.stack([first, near, far])
    torch.testing.assert_close(step.training_side(rows, torch.zeros_like), torch.stack([near, first, near]))
    torch.testing.assert_close(step.inference_side(rows), rows)
    two = NearestTexts(neighbors=3, rows=4, dim=3)  # of the first, only two others are left
    two.memory.copy_(step.memory)
    torch.testing.assert_close(
        two.training_side(first[None], torch.zeros_like), F.normalize(near + far, dim=0)[None], atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_a_text_of_which_the_memory_has_copies_alone_stays_as_it_is(options):
    step = NearestTexts(**options, rows=3, dim=3)
    middle, left, right = F.normalize(torch.tensor([[1.0, 0, 0], [1.0, 0.04, 0], [1.0, -0.04, 0]]), dim=-1)
    step.memory.copy_(torch.stack([left, middle, right]))
    assert left @ right < COPY < middle @ left  # so that the others have another text
    rows = step.training_side(torch.stack([left, middle]), seeded())
    torch.testing.assert_close(rows, torch.stack([right, middle]))


def test_images_are_projected_as_by_decaps_memory_where_all_texts_are_averaged(make_store):
    store = make_store()
    both = chain_of(store, neighbors=None, temperature=0.02)
    decap = Alignment.from_store([NORMALIZE, {"step": "TextMemory", "temperature": 0.02}, NORMALIZE], STEPS, store)
    images = store.images("test")
    torch.testing.assert_close(both.inference_side(images), decap.inference_side(images))


def test_a_row_does_not_depend_on_its_batch_and_noise_is_that_of_its_sampler(make_store, monkeypatch):
    store = make_store()
    chain = chain_of(store, query_noise_std=0.1)
    texts = store.texts("train")
    whole = chain.training_side(texts, seeded(1))
    assert torch.equal(whole, chain.training_side(texts, seeded(1)))
    assert not torch.equal(whole, chain.training_side(texts, seeded(2)))
    assert torch.equal(chain.clean_side(texts), chain.clean_side(texts))
    monkeypatch.setattr("alignment.nearest_texts.QUERIES_AT_ONCE", 7)
    torch.testing.assert_close(chain.training_side(texts, seeded(1)), whole, atol=1e-5, rtol=0)
    assert chain.clean_side(texts[:0]).shape == (0, store.dim)


def test_its_memory_is_saved_or_fetched_as_that_of_text_memory_is(make_store, monkeypatch):
    store = make_store()
    options = {"neighbors": 4, "temperature": 0.1, "query_noise_std": 0.05, "memory_rows": 50}
    chain = chain_of(store, **options)
    assert len(chain.steps[1].memory) == 50
    rebuilt = Alignment.from_options(json.loads(json.dumps(chain.options())), STEPS)
    rebuilt.load_state_dict(chain.state_dict())
    texts = store.texts("train")
    assert rebuilt.hash == chain.hash
    assert torch.equal(rebuilt.training_side(texts, seeded()), chain.training_side(texts, seeded()))
    monkeypatch.setattr(NearestTexts, "MEMORY_SAVED_BYTES", 100)
    assert TextMemory.MEMORY_SAVED_BYTES > 100
    few = store.with_captions(30)
    large = chain_of(few, neighbors=4)
    assert not large.state_dict() and large.options()[1]["corpus_captions"] == 30
    fetched = Alignment.from_options(large.options(), STEPS).restore()
    assert torch.equal(fetched.training_side(texts), large.training_side(texts))
    contained = large.steps[1].self_contained()
    assert "store" not in contained.options() and torch.equal(contained.memory, large.steps[1].memory)


def test_a_text_still_does_not_see_itself_when_an_export_has_rounded_its_memory(make_store):
    store = make_store()
    chain = chain_of(store, neighbors=None, temperature=0.02)
    texts = store.texts("train")
    before = chain.training_side(texts)
    chain.steps[1].memory = chain.steps[1].memory.half().float()
    torch.testing.assert_close(chain.training_side(texts), before, atol=2e-3, rtol=0)


def test_for_image_generation_images_are_averaged(make_store):
    store = make_store()
    mirrored = chain_of(EmbeddingStore(store.path, training_modality="images"), neighbors=2)
    memory, texts = (F.normalize(rows, dim=-1) for rows in (store.images("pretrain"), store.texts("test")))
    assert torch.equal(mirrored.steps[1].memory, memory)
    slow = torch.stack([slow_mean(text, memory, neighbors=2) for text in texts])
    torch.testing.assert_close(mirrored.inference_side(texts), slow, atol=2e-5, rtol=0)


def test_noise_after_it_can_be_estimated(make_store):
    noise = {"step": "GaussianNoise", "noise_std": "auto"}
    entries = [NORMALIZE, {"step": "NearestTexts"}, NORMALIZE, noise, NORMALIZE]
    chain = Alignment.from_store(entries, STEPS, make_store())
    assert chain.estimates[0]["value"] == chain.steps[3].noise_std


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbors": 10}, "alignment.neighbors=10 must be at most 9, the number of other texts in the memory"),
        ({"neighbors": 3, "memory_rows": 3}, "alignment.neighbors=3 must be at most 2"),
        ({"neighbors": 0}, "alignment.neighbors=0 must be greater than or equal to 1"),
        ({"neighbors": None}, "alignment.neighbors=null takes all texts, and alignment.temperature=null"),
        ({"temperature": 0}, "alignment.temperature=0"),
        ({"query_noise_std": -1}, "alignment.query_noise_std=-1"),
        ({"query_noise_std": "auto"}, "alignment.query_noise_std='auto' must be a valid number"),
        ({"memory_rows": 11}, r"alignment.memory_rows=11 must be in 1\.\.10"),
    ],
    ids=str,
)
def test_bad_options_are_refused(make_store, options, message):
    with pytest.raises(ValueError, match=message):
        chain_of(make_store(images=4, texts=10), **options)


def test_rows_that_are_not_of_unit_length_and_texts_that_are_all_the_same_are_refused(make_store, monkeypatch):
    store = make_store(images=4, texts=10)
    with pytest.raises(ValueError, match="must directly follow a Normalize"):
        Alignment.from_store([NORMALIZE, {"step": "Center"}, {"step": "NearestTexts"}, NORMALIZE], STEPS, store)
    monkeypatch.setattr(store, "training_rows", lambda split: torch.ones(10, 16))
    with pytest.raises(ValueError, match=r"needs different texts, and all 10 of .* are the same"):
        chain_of(store)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("knight", (5, None, 0.0)),
        ("image_like_retrieval", (5, None, 0.2)),
        ("decap_both_sides", (None, 0.01, 0.1265)),
    ],
)
def test_the_configs_name_it(compose, make_store, name, settings):
    store = make_store()
    method = compose("image_captioning", f"alignment={name}").alignment
    chain = Alignment.from_store(step_entries(method, STEPS), STEPS, store)
    assert isinstance(chain.steps[0], Normalize)
    step = chain.steps[1]
    assert isinstance(step, NearestTexts) and (step.neighbors, step.temperature, step.query_noise_std) == settings
    rows = chain.training_side(store.texts("val"))
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(len(rows)))
