"""DeCap's text memory against the equation, and in a checkpoint."""

from __future__ import annotations

import copy
import json
import math

import pytest
import torch
import torch.nn.functional as F

from alignment.cell_index import CellIndex
from alignment.chain import Alignment
from alignment.memory import TextMemory
from alignment.nearest_rows import nearest_rows
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


def test_few_neighbors_weigh_the_nearest_texts_alone(make_store):
    store = make_store(texts=60)
    entry = {"step": "TextMemory", "temperature": 0.05}
    memory, images = (F.normalize(rows, dim=-1) for rows in (store.texts("train"), store.images("test")))
    few = Alignment.from_store([NORMALIZE, {**entry, "neighbors": 5}, NORMALIZE], STEPS, store)
    for image, projected in zip(images, few.inference_side(images), strict=True):
        similarities = memory @ image
        nearest = similarities.argsort(descending=True)[:5]
        slow = (similarities[nearest] / 0.05).softmax(0) @ memory[nearest]
        assert torch.allclose(projected, slow / slow.norm(), atol=1e-5)
    every = Alignment.from_store([NORMALIZE, {**entry, "neighbors": 99}, NORMALIZE], STEPS, store)
    whole = Alignment.from_store([NORMALIZE, entry, NORMALIZE], STEPS, store)
    assert torch.allclose(every.inference_side(images), whole.inference_side(images), atol=1e-5)
    assert "neighbors" not in whole.options()[1]  # the hashes of earlier chains stay
    assert Alignment.from_options(few.options(), STEPS).steps[1].neighbors == 5


def test_all_cells_hold_what_an_exact_search_finds_and_few_hold_most_of_it():
    generator = torch.Generator().manual_seed(0)
    centers = F.normalize(torch.randn(40, 16, generator=generator), dim=1)
    rows = F.normalize(centers.repeat(100, 1) + 0.1 * torch.randn(4000, 16, generator=generator), dim=1)
    queries = F.normalize(rows[::97] + 0.02 * torch.randn(42, 16, generator=generator), dim=1)
    exact, index = nearest_rows(queries, rows, 10), CellIndex(rows)
    assert index.cells == 102
    everywhere, nearby = index.nearest(queries, 10, probes=10_000), index.nearest(queries, 10, probes=16)
    assert torch.equal(everywhere[:, 0], exact[:, 0])
    shares = [
        sum(len({*a} & {*b}) for a, b in zip(found.tolist(), exact.tolist(), strict=True)) / 420
        for found in (everywhere, nearby)
    ]
    assert shares[0] > 0.98 and shares[1] > 0.85  # float16 swaps near ties
    assert torch.equal(CellIndex(rows).nearest(queries, 10, 16), nearby)

    step = TextMemory(temperature=0.05, neighbors=10, rows=4000, dim=16)
    step.memory = rows
    approximate = step.with_inference_options(probes=16)
    assert F.cosine_similarity(step.inference_side(queries), approximate.inference_side(queries)).min() > 0.99
    assert approximate.settings() == {"temperature": 0.05, "neighbors": 10, "probes": 16}
    copied = copy.deepcopy(approximate)
    assert torch.equal(copied.inference_side(queries), approximate.inference_side(queries))


def test_fewer_rows_than_neighbors_in_the_cells_searched_count_for_what_they_are():
    rows = F.normalize(torch.randn(400, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    step = TextMemory(temperature=0.05, neighbors=300, probes=1, rows=400, dim=4)
    step.memory = rows
    numbers = step.nearest(rows[:5])
    assert (numbers < 0).any() and torch.isfinite(step.inference_side(rows[:5])).all()


def test_a_query_whose_cells_are_all_empty_is_searched_exactly():
    distinct = F.normalize(torch.randn(40, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    step = TextMemory(temperature=0.05, neighbors=20, probes=1, rows=20_000, dim=8)
    step.memory = distinct.repeat(500, 1)  # as a corpus that says the same again and again
    queries = F.normalize(torch.randn(50, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    assert (CellIndex(step.memory).nearest(queries, 20, probes=1)[:, 0] < 0).any()
    assert (step.nearest(queries)[:, 0] >= 0).all() and torch.isfinite(step.inference_side(queries)).all()


def test_an_approximate_search_needs_to_know_how_many_and_its_library(monkeypatch):
    with pytest.raises(ValueError, match=r"alignment\.probes=4 .* alignment\.neighbors"):
        TextMemory(temperature=0.1, probes=4, rows=2, dim=2)
    monkeypatch.setattr("common.extras.find_spec", lambda module: None)
    with pytest.raises(ImportError, match=r"faiss is not installed: pip install -e \"\.\[search\]\""):
        TextMemory(temperature=0.1, neighbors=2, probes=4, rows=2, dim=2)


def test_memory_does_not_grow_with_images_times_texts(monkeypatch):
    monkeypatch.setattr("alignment.memory.SIMILARITIES_AT_ONCE", 200)
    step, seen = TextMemory(temperature=0.1, rows=50, dim=4), []
    step.memory = F.normalize(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    project = step._project
    monkeypatch.setattr(step, "_project", lambda rows: seen.append(len(rows)) or project(rows))
    rows = F.normalize(torch.randn(11, 4, generator=torch.Generator().manual_seed(1)), dim=1)
    assert torch.allclose(step.inference_side(rows), project(rows)) and seen == [4, 4, 3]
