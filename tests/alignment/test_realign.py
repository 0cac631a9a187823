"""Texts moved to the images' distribution: its moments, its equations, and what it needs of a store."""

from __future__ import annotations

import weakref

import pytest
import torch
import torch.nn.functional as F

from alignment.chain import Alignment
from alignment.options import step_entries
from embedding_space.store import EmbeddingStore
from image_captioning.alignments import STEPS

NORMALIZE = {"step": "Normalize"}


def chain_of(store, **options) -> Alignment:
    return Alignment.from_store([NORMALIZE, {"step": "Realign", **options}, NORMALIZE], STEPS, store)


def unit_rows(store) -> tuple[torch.Tensor, torch.Tensor]:
    """The training texts and the unpaired images, in float64."""
    return tuple(F.normalize(rows.double(), dim=-1) for rows in (store.texts("train"), store.images("pretrain")))


def test_moved_texts_have_the_mean_and_the_variance_of_the_images(make_store):
    store = make_store()
    texts, images = unit_rows(store)
    scalar, diagonal, shift = (
        chain_of(store, scale=scale, correct_drift=False).steps[1].training_side(texts.float(), torch.zeros_like)
        for scale in ("scalar", "diagonal", "none")
    )
    for moved in (scalar, diagonal, shift):
        torch.testing.assert_close(moved.mean(0).double(), images.mean(0), atol=1e-5, rtol=0)
    variances = [rows.double().var(0, correction=0) for rows in (scalar, diagonal, shift, images, texts)]
    torch.testing.assert_close(variances[0].sum(), variances[3].sum(), rtol=1e-4, atol=0)
    torch.testing.assert_close(variances[1], variances[3], rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(variances[2], variances[4], rtol=1e-3, atol=1e-7)


def test_realign_is_the_papers_equations_row_by_row(make_store):
    store = make_store()
    texts, images = unit_rows(store)
    text_mean, image_mean = texts.mean(0), images.mean(0)
    text_trace = sum(float((text - text_mean).square().sum()) for text in texts) / len(texts)
    image_trace = sum(float((image - image_mean).square().sum()) for image in images) / len(images)
    scale = (image_trace / text_trace) ** 0.5
    moved = [(text - text_mean) * scale + image_mean for text in texts]
    moved = torch.stack([row / row.norm() for row in moved])
    slow = torch.stack([(row - moved.mean(0) + image_mean) for row in moved])
    slow = slow / slow.norm(dim=-1, keepdim=True)
    chain = chain_of(store)
    torch.testing.assert_close(chain.training_side(texts).double(), slow, atol=1e-5, rtol=0)
    assert torch.equal(chain.training_side(texts), chain.clean_side(texts))  # no noise
    uncorrected = chain_of(store, correct_drift=False).training_side(texts)
    distances = [(rows.mean(0) - image_mean).norm() for rows in (chain.training_side(texts), uncorrected, texts)]
    assert distances[0] < distances[1] < distances[2]
    plain = chain.inference_side(store.images("test"))
    torch.testing.assert_close(plain, F.normalize(store.images("test"), dim=-1))


def test_statistics_are_of_parts_of_which_few_are_in_memory(make_store, monkeypatch):
    store, living, most = make_store(), weakref.WeakSet(), []
    at_once, normalize = chain_of(store).state_dict(), F.normalize

    def followed(rows, **options):
        unit = normalize(rows, **options)
        living.add(unit)
        most.append(len(living))
        return unit

    monkeypatch.setattr("alignment.realign.ROWS_AT_ONCE", 7)
    monkeypatch.setattr(F, "normalize", followed)
    in_parts = chain_of(store).state_dict()
    assert len(most) > 20 and max(most) <= 4
    for name, values in at_once.items():
        torch.testing.assert_close(in_parts[name], values, atol=1e-6, rtol=0)


def test_it_comes_back_from_a_checkpoint_and_reads_no_pairs(make_store):
    store = make_store()
    for options in ({}, {"scale": "diagonal", "correct_drift": False}):
        chain = chain_of(store, **options)
        rebuilt = Alignment.from_options(chain.options(), STEPS)
        rebuilt.load_state_dict(chain.state_dict())
        assert rebuilt.hash == chain.hash and not chain.uses_pairs and not chain.centers_inference_rows
        assert torch.equal(rebuilt.training_side(store.texts("val")), chain.training_side(store.texts("val")))


def test_for_image_generation_images_are_moved_to_the_texts(make_store):
    store = make_store()
    mirrored = EmbeddingStore(store.path, training_modality="images")
    texts, images = unit_rows(store)
    step = chain_of(mirrored, correct_drift=False).steps[1]
    torch.testing.assert_close(step.training_side(images, torch.zeros_like).mean(0), texts.mean(0), atol=1e-5, rtol=0)


def test_a_dimension_in_which_texts_do_not_vary_stays_finite(make_store, monkeypatch):
    store = make_store()
    rows = store.texts("train")
    rows[:, 0] = 0
    monkeypatch.setattr(store, "training_rows", lambda split, dtype=torch.float32: rows)
    for options in ({"scale": "diagonal"}, {"scale": "scalar"}):
        assert chain_of(store, **options).training_side(store.texts("val")).isfinite().all()


def test_noise_after_it_can_be_estimated(make_store):
    noise = {"step": "GaussianNoise", "noise_std": "auto"}
    entries = [NORMALIZE, {"step": "Realign"}, noise, NORMALIZE]
    chain = Alignment.from_store(entries, STEPS, make_store())
    (estimate,) = chain.estimates
    assert estimate["value"] == chain.steps[2].noise_std >= 0 and not estimate["uses_pairs"]


def test_what_it_cannot_do_is_said_in_one_sentence(make_store, monkeypatch):
    store = make_store()
    with pytest.raises(ValueError, match=r"alignment\.scale='full' must be 'scalar', 'diagonal' or 'none'"):
        chain_of(store, scale="full")
    with pytest.raises(ValueError, match="must directly follow one Normalize"):
        Alignment.from_store([NORMALIZE, {"step": "Center"}, {"step": "Realign"}, NORMALIZE], STEPS, store)
    monkeypatch.delitem(store._statistics, "image_mean")
    with pytest.raises(ValueError, match=r"needs images of .* dataset\.image_mean_split=pretrain, .* none: prepare"):
        chain_of(store)


@pytest.mark.parametrize("name", ["realign", "realign_noise", "realign_diag"])
def test_the_configs_name_it(compose, make_store, name):
    store = make_store()
    method = compose("image_captioning", f"alignment={name}").alignment
    chain = Alignment.from_store(step_entries(method, STEPS), STEPS, store)
    assert type(chain.steps[1]).__name__ == "Realign"
    noisy = not torch.equal(chain.training_side(store.texts("val")), chain.training_side(store.texts("val")))
    assert noisy == (name != "realign")
