"""Estimates find the noise that was put in, say what they read, and are the same twice."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from alignment.auto_noise import EstimationRows, estimate_noise_std, rows_for_estimate
from alignment.chain import Alignment
from embedding_space.store import EmbeddingStore
from image_captioning.alignments import STEPS

NORMALIZE, CENTER = {"step": "Normalize"}, {"step": "Center"}


def chain(**noise) -> list[dict]:
    return [NORMALIZE, CENTER, {"step": "GaussianNoise", "noise_std": "auto", **noise}, NORMALIZE]


def clustered(rows: int, seed: int, dim: int = 32) -> torch.Tensor:
    """Unit rows (rows, dim) around 50 centers, the same for each seed."""
    centers = torch.randn(50, dim, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    chosen = centers[torch.randint(50, (rows,), generator=generator)]
    return F.normalize(chosen + 0.4 * torch.randn(rows, dim, generator=generator), dim=-1)


def noised(rows: torch.Tensor, std: float) -> torch.Tensor:
    return rows + std * torch.randn(rows.shape, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("std", [0.03, 0.1])
def test_noise_is_found_from_pairs_and_without_them(std):
    paired = EstimationRows(noised(clustered(800, 1), std) + 0.2, clustered(800, 1), True, {})
    assert estimate_noise_std(paired)["value"] == pytest.approx(std, rel=0.02)  # a constant offset is no noise
    unpaired = EstimationRows(noised(clustered(800, 2), std), clustered(2000, 1), False, {})
    assert estimate_noise_std(unpaired)["value"] == pytest.approx(std, rel=0.15)


def test_images_that_lie_on_texts_need_no_noise_and_those_beyond_all_noise_are_refused():
    texts = clustered(500, 1)
    assert estimate_noise_std(EstimationRows(texts, texts, False, {}))["value"] == 0
    with pytest.raises(ValueError, match="noise_std=auto finds no value: images have the cosine 0"):
        estimate_noise_std(EstimationRows(-texts.mean(0).expand(10, -1), texts, False, {}))


def test_a_chain_records_value_and_data_and_rebuilds_with_the_value(make_store):
    store = make_store()
    for estimate, split, pairs in ((None, "pretrain", False), ({"data": "pairs", "images": 10}, "val", True)):
        alignment = Alignment.from_store(chain(**({"estimate": estimate} if estimate else {})), STEPS, store)
        (recorded,) = alignment.estimates
        assert (recorded["image_split"], recorded["uses_pairs"], recorded["option"]) == (split, pairs, "noise_std")
        assert alignment.uses_pairs is pairs
        assert alignment.options()[2] == {"step": "GaussianNoise", "noise_std": recorded["value"]}
        assert alignment.hash == Alignment.from_store(chain(estimate=estimate), STEPS, store).hash
        assert (
            Alignment.from_options(alignment.options(), STEPS).estimates == [] and recorded["store_hash"] == store.hash
        )
    assert recorded["images"] == 10 and recorded["texts"] == 20
    assert Alignment.from_store([NORMALIZE, CENTER, NORMALIZE], STEPS, store).estimates == []


def test_pairs_are_those_of_the_tables_after_the_steps_before(make_store):
    store = make_store()
    steps = Alignment.from_store([NORMALIZE, CENTER, NORMALIZE], STEPS, store).steps
    rows = rows_for_estimate(store, steps[:2], "noise_std", {"data": "pairs", "images": 7})
    assert rows.paired and len(rows.inference.unique(dim=0)) == rows.facts["images"] == 7
    all_images, pairs = store.images("val"), store.pairs("val")
    centred = F.normalize(all_images, dim=-1) - store.mean("image")
    kept = [row for row in range(len(pairs)) if (centred[pairs[row]] - rows.inference).norm(dim=1).min() < 1e-6]
    texts = F.normalize(store.texts("val"), dim=-1)[kept] - store.mean("text")
    torch.testing.assert_close(rows.training, texts)
    torch.testing.assert_close(rows.inference, centred[pairs[kept]])
    slow = (rows.inference - texts).var(0).mean().sqrt().item()
    assert rows.residual_std() == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize(
    ("estimate", "message"),
    [
        ({"data": "paired"}, "alignment.estimate.data='paired' must be 'unpaired' or 'pairs'"),
        ({"images": 1}, "alignment.estimate.images=1 must be greater than or equal to 2"),
        ({"rows": 3}, "no option alignment.estimate.rows=3"),
        ({"data": "pairs", "split": "dev"}, "images of the split 'dev', of which .* has none"),
    ],
)
def test_bad_options_are_refused(make_store, estimate, message):
    with pytest.raises(ValueError, match=message):
        Alignment.from_store(chain(estimate=estimate), STEPS, make_store(images=4, texts=10))


@pytest.mark.parametrize("data", ["pairs", "unpaired"])
def test_for_image_generation_the_modalities_change_places(make_store, data):
    store = make_store()
    estimate = {"data": data, "images": 9}
    captioning = rows_for_estimate(store, [], "noise_std", estimate)
    drawing = rows_for_estimate(EmbeddingStore(store.path, training_modality="images"), [], "noise_std", estimate)
    assert torch.equal(captioning.inference, drawing.training) and torch.equal(captioning.training, drawing.inference)
    assert captioning.facts == drawing.facts
