"""DeCap's text memory against the equation, and in a checkpoint."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F

from alignment.chain import Alignment
from alignment.memory import TextMemory
from alignment.steps import Normalize
from embedding_space.store import EmbeddingStore

STEPS = {"Normalize": Normalize, "TextMemory": TextMemory}
NORMALIZE = {"step": "Normalize"}


def test_text_memory_is_the_softmax_weighted_mean_of_the_training_texts(make_store):
    store = make_store()
    chain = Alignment.from_store([NORMALIZE, {"step": "TextMemory", "temperature": 0.05}, NORMALIZE], STEPS, store)
    memory, images = store.texts("train"), store.images("test")
    for image, projected in zip(images, chain.inference_side(images), strict=True):
        weights = [math.exp(float(image @ text) / 0.05) for text in memory]
        slow = sum(weight * text for weight, text in zip(weights, memory, strict=True)) / sum(weights)
        assert torch.allclose(projected, slow / slow.norm(), atol=1e-4)


def test_a_cold_text_memory_copies_the_nearest_text(make_store):
    store = make_store()
    chain = Alignment.from_store([NORMALIZE, {"step": "TextMemory", "temperature": 1e-4}, NORMALIZE], STEPS, store)
    images, memory = store.images("test"), F.normalize(store.texts("train"), dim=-1)
    assert torch.allclose(chain.inference_side(images), memory[(images @ memory.T).argmax(-1)], atol=1e-3)


def test_a_large_memory_is_saved_by_its_stores_hash_and_refused_when_that_changed(make_store, monkeypatch):
    monkeypatch.setattr(TextMemory, "MEMORY_SAVED_BYTES", 100)
    store = make_store()
    chain = Alignment.from_store([NORMALIZE, {"step": "TextMemory"}, NORMALIZE], STEPS, store)
    assert not any("memory" in name for name in chain.state_dict())
    rebuilt = Alignment.from_options(chain.options(), STEPS).restore()
    assert torch.equal(rebuilt.inference_side(store.images("test")), chain.inference_side(store.images("test")))
    options = chain.options()
    options[1]["store_hash"] = "0" * 64
    with pytest.raises(ValueError, match="but the store there has hash"):
        Alignment.from_options(options, STEPS).restore()


def test_a_large_memory_of_fewer_captions_is_fetched_from_the_same_part(make_store, monkeypatch):
    monkeypatch.setattr(TextMemory, "MEMORY_SAVED_BYTES", 100)
    few = make_store().with_captions(30)
    chain = Alignment.from_store([NORMALIZE, {"step": "TextMemory"}, NORMALIZE], STEPS, few)
    rebuilt = Alignment.from_options(json.loads(json.dumps(chain.options())), STEPS).restore()
    assert torch.equal(rebuilt.steps[1].memory, F.normalize(few.texts("train"), dim=-1)) and rebuilt.hash == chain.hash


def test_fewer_rows_are_an_evenly_spaced_subset_of_the_memory(make_store):
    steps = [NORMALIZE, {"step": "TextMemory"}, NORMALIZE]
    whole = Alignment.from_store(steps, STEPS, make_store(texts=60)).steps[1]
    few = whole.with_inference_options(memory_rows=3)
    assert len(whole.memory) == 60 and few.temperature == whole.temperature
    rows = [int((whole.memory == row).all(-1).nonzero()[0, 0]) for row in few.memory]
    assert rows == sorted(rows) and rows[0] < 20 and rows[-1] >= 39
    with pytest.raises(ValueError, match=r"memory_rows=61 must be in 1\.\.60"):
        whole.with_inference_options(memory_rows=61)


def test_a_memory_of_images_projects_texts_and_is_fetched_from_the_images_again(make_store, monkeypatch):
    monkeypatch.setattr(TextMemory, "MEMORY_SAVED_BYTES", 100)
    store = make_store()
    entries = [NORMALIZE, {"step": "TextMemory", "temperature": 0.05}, NORMALIZE]
    chain = Alignment.from_store(entries, STEPS, EmbeddingStore(store.path, training_modality="images"))
    texts, memory = store.texts("test"), F.normalize(store.images("pretrain"), dim=-1)
    projected = F.normalize((F.normalize(texts, dim=-1) @ memory.T / 0.05).softmax(-1) @ memory, dim=-1)
    assert torch.allclose(chain.inference_side(texts), projected, atol=1e-5)
    rebuilt = Alignment.from_options(json.loads(json.dumps(chain.options())), STEPS)
    rebuilt.load_state_dict(chain.state_dict())
    assert torch.allclose(rebuilt.restore().inference_side(texts), projected, atol=1e-5)
