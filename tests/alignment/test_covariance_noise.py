"""Noise of a full covariance: its moments, where its shape comes from, and when that is pairs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from alignment.chain import Alignment
from alignment.covariance_noise import CovarianceNoise
from alignment.options import step_entries
from alignment.steps import GaussianNoise
from embedding_space.store import EmbeddingStore
from image_captioning.alignments import STEPS

NORMALIZE, CENTER = {"step": "Normalize"}, {"step": "Center"}


def seeded(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator)


def chain_of(store, noise_std=0.3, **options) -> Alignment:
    noise = {"step": "CovarianceNoise", "noise_std": noise_std, **options}
    return Alignment.from_store([NORMALIZE, CENTER, noise, NORMALIZE], STEPS, store)


def centered(store, images: str, texts: str) -> tuple[torch.Tensor, torch.Tensor]:
    rows = F.normalize(store.images(images), dim=-1), F.normalize(store.texts(texts), dim=-1)
    return rows[0] - store.mean("image"), rows[1] - store.mean("text")


def with_trace(covariance: torch.Tensor, trace: float) -> torch.Tensor:
    return covariance * trace / covariance.trace()


def expected(store, covariance: str) -> torch.Tensor:
    """The shape, one row at a time."""
    if covariance == "pairs":
        images, texts = centered(store, "val", "val")
        rows = [images[image] - text for image, text in zip(store.pairs("val"), texts, strict=True)]
    else:
        images, texts = centered(store, "pretrain", "train")
        nearest = [texts[F.cosine_similarity(image, texts).argmax()] for image in images]
        rows = list(images) if covariance == "images" else [a - b for a, b in zip(images, nearest, strict=True)]
    residuals = [row - sum(rows) / len(rows) for row in rows]
    return sum(torch.outer(row, row) for row in residuals) / len(rows)


@pytest.mark.parametrize("covariance", ["images", "residual", "pairs"])
def test_many_draws_have_the_shape_of_the_rows_and_the_size_asked_for(make_store, covariance):
    store = make_store()
    step = chain_of(store, covariance=covariance, shrinkage=0.25).steps[2]
    target = 0.75 * with_trace(expected(store, covariance), 16) + 0.25 * torch.eye(16)
    torch.testing.assert_close(step.root @ step.root, target, atol=1e-3, rtol=0)
    noise = step.training_side(torch.zeros(200_000, 16), seeded())
    torch.testing.assert_close(noise.T.cov(), 0.09 * target, atol=6e-3, rtol=0)
    assert noise.var().sqrt().item() == pytest.approx(0.3, rel=0.02)
    rows = torch.randn(5, 16)
    assert torch.equal(step.clean_side(rows), rows) and torch.equal(step.inference_side(rows), rows)


def test_it_is_gaussian_noise_where_all_is_shrunk(make_store):
    store = make_store()
    step, rows = chain_of(store, shrinkage=1.0).steps[2], store.texts("val")
    plain = GaussianNoise(noise_std=0.3)
    torch.testing.assert_close(step.training_side(rows, seeded(1)), plain.training_side(rows, seeded(1)))


def test_few_images_leave_directions_out_unless_the_covariance_is_shrunk(make_store):
    store = make_store()
    bare, shrunk = (chain_of(store, shrinkage=share, covariance_images=5).steps[2].root for share in (0.0, 0.1))
    assert bare.isfinite().all() and torch.linalg.matrix_rank(bare, atol=1e-3) == 4
    assert torch.linalg.matrix_rank(shrunk, atol=1e-3) == 16


def test_a_noise_std_is_estimated_from_the_rows_that_the_shape_is_of(make_store):
    store = make_store()
    for covariance, split in (("images", "pretrain"), ("residual", "pretrain"), ("pairs", "val")):
        chain = chain_of(store, "auto", covariance=covariance)
        (estimate,) = chain.estimates
        assert estimate["value"] == chain.steps[2].noise_std and estimate["option"] == "noise_std"
        assert estimate["image_split"] == split and estimate["uses_pairs"] is chain.uses_pairs is (split == "val")
    images, texts = centered(store, "val", "val")
    slow = (images[store.pairs("val")] - texts).var(0).mean().sqrt().item()
    assert estimate["value"] == pytest.approx(slow, rel=1e-4)


def test_it_comes_back_from_a_checkpoint_and_remembers_pairs(make_store):
    store = make_store()
    for covariance in ("residual", "pairs"):
        chain = chain_of(store, covariance=covariance)
        rebuilt = Alignment.from_options(chain.options(), STEPS)
        rebuilt.load_state_dict(chain.state_dict())
        assert rebuilt.hash == chain.hash and rebuilt.uses_pairs is chain.uses_pairs is (covariance == "pairs")
        rows = store.texts("val")
        assert torch.equal(rebuilt.training_side(rows, seeded()), chain.training_side(rows, seeded()))


def test_for_image_generation_it_has_the_shape_of_the_texts(make_store):
    store = make_store()
    mirrored = EmbeddingStore(store.path, training_modality="images")
    texts = F.normalize(store.texts("train"), dim=-1)
    root = chain_of(mirrored, shrinkage=0.0).steps[2].root
    torch.testing.assert_close(root @ root, with_trace(texts.T.cov(), 16), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"covariance": "texts"}, r"alignment\.covariance='texts' must be 'images', 'residual' or 'pairs'"),
        ({"shrinkage": 1.5}, r"alignment\.shrinkage=1\.5 must be less than or equal to 1"),
        ({"noise_std": -0.1}, r"alignment\.noise_std=-0\.1"),
        ({"covariance_images": 1}, r"alignment\.covariance_images=1"),
        ({"covariance": "pairs", "covariance_split": "dev"}, r"of the split 'dev', of which .*\.covariance_split="),
    ],
)
def test_bad_options_are_refused(make_store, options, message):
    with pytest.raises(ValueError, match=message):
        chain_of(make_store(images=4, texts=10), **options)


def test_images_that_do_not_vary_and_a_store_without_images_are_refused(make_store, monkeypatch):
    store = make_store(images=4, texts=10)
    images = store.images
    monkeypatch.setattr(store, "images", lambda split: torch.ones_like(images(split)))
    with pytest.raises(ValueError, match="covariance is zero: the rows do not vary"):
        chain_of(store)
    monkeypatch.setattr(store, "manifest", replace(store.manifest, image_mean_split=None))
    with pytest.raises(ValueError, match=r"covariance=images reads images of the split None, .* alignment=c3"):
        chain_of(store)


def test_the_config_names_it(compose, make_store):
    method = compose("image_captioning", "alignment=gaussian_full").alignment
    chain = Alignment.from_store(step_entries(method, STEPS), STEPS, make_store())
    step = chain.steps[2]
    assert isinstance(step, CovarianceNoise) and (step.noise_std, step.covariance) == (0.06, "images")
    assert not chain.uses_pairs
