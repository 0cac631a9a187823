"""Statistics of geometry against slow references and invariants, and as JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from alignment.chain import Alignment
from common.paths import ROOT
from evaluation.geometry.analysis import Geometry, analyze
from evaluation.geometry.gap import gap_statistics, paired_gap_statistics
from evaluation.geometry.residuals import anderson_darling, gaussianity, residual_statistics
from evaluation.geometry.sample import Embeddings
from evaluation.geometry.similarity import linear_cka, pair_alignment, separability, uniformity
from evaluation.geometry.spread import effective_dimension, entropy_rank, participation_ratio, principal_axes
from image_captioning.alignments import STEPS
from image_captioning.load_alignments import aligned


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pairs_with_a_gap(images: int = 300, dim: int = 12, sd: float = 0.1) -> Embeddings:
    """Two texts an image; both modalities vary in the first half of the dimensions, the gap lies in the last one."""
    places = F.pad(normal(images, dim // 2), (0, dim - dim // 2))
    image_row = torch.arange(images).repeat_interleave(2)
    texts = places[image_row] + sd * normal(2 * images, dim, seed=1)
    return Embeddings(places + 3.0 * F.one_hot(torch.tensor(dim - 1), dim), texts, image_row)


def test_the_gap_has_its_length_and_direction():
    embeddings = pairs_with_a_gap()
    gap = gap_statistics(embeddings, 0.99, 5000)
    assert gap.distance_of_means == pytest.approx(3, abs=0.02)
    images = gap.orthogonality["images"]
    assert images.span_dimensions == 6 and images.angle_to_span_degrees == pytest.approx(90, abs=1)
    assert abs(images.cosine_to_differences.mean) < 0.01
    assert sum(images.cosine_to_differences.histogram) == pytest.approx(1)
    both = embeddings.image_row, embeddings.texts
    slow = torch.stack([embeddings.images[row] - text for row, text in zip(*both, strict=True)])
    of_pairs = paired_gap_statistics(embeddings)
    assert of_pairs.length.mean == pytest.approx(slow.norm(dim=1).mean().item(), rel=1e-5)
    assert of_pairs.length.sd == pytest.approx(slow.norm(dim=1).std().item(), rel=1e-4)
    to_mean = F.cosine_similarity(slow, slow.mean(0)).mean().item()
    assert of_pairs.cosine_to_mean_gap.mean == pytest.approx(to_mean, rel=1e-5)
    assert np.linalg.norm(gap.axes.gap) == pytest.approx(gap.distance_of_means, rel=1e-4)


@pytest.mark.parametrize("captions", [1, 5])
def test_the_spread_along_axes_is_that_of_the_rows_however_many_captions_there_are(captions):
    sd, count = torch.tensor([1.0, 0.5, 0.2, 0.1]), 2000
    images, texts = normal(count, 4) * sd, normal(captions * count, 4, seed=1) * sd + 3
    embeddings = Embeddings(images, texts, torch.arange(count).repeat_interleave(captions))
    assert gap_statistics(embeddings, 0.99, 100).axes.sd == pytest.approx(sd.tolist(), rel=0.05)


def test_a_gap_within_the_span_has_no_angle_to_it():
    rows = normal(400, 6)
    gap = gap_statistics(Embeddings(rows + torch.eye(6)[0], normal(400, 6, seed=1)), 0.9999, 100)
    assert gap.orthogonality["images"].angle_to_span_degrees == pytest.approx(0, abs=0.1)


def test_residuals_are_the_noise_that_was_added():
    embeddings = pairs_with_a_gap(images=2000, sd=0.1)
    residuals = residual_statistics(embeddings, 0.99, 20_000)
    assert residuals.sd_rms == pytest.approx(0.1, rel=0.02) and len(residuals.sd) == 12
    assert residuals.cosine.sd == pytest.approx(residuals.cosine.sd_if_isotropic, rel=0.05)
    assert residuals.gaussianity.samples == 2000  # one pair an image
    assert residuals.gaussianity.dagostino.share_rejected_benjamini_hochberg <= 1 / 12
    assert residuals.spread.participation_ratio == pytest.approx(12, rel=0.05)
    assert residuals.offset_in_sd[-1] == pytest.approx(30, rel=0.1)


def test_tests_of_gaussianity_hold_their_level_and_see_other_distributions():
    gaussian = gaussianity(np.random.default_rng(0).standard_normal((300, 400)))
    for share in (gaussian.dagostino.share_rejected, gaussian.anderson_darling.share_rejected):
        assert 0.02 < share < 0.09
    assert gaussian.dagostino.share_rejected_benjamini_hochberg < 0.01
    uniform = gaussianity(np.random.default_rng(0).random((300, 50)))
    assert uniform.dagostino.share_rejected_benjamini_hochberg == 1 == uniform.anderson_darling.share_rejected
    assert uniform.excess_kurtosis.mean == pytest.approx(-1.2, abs=0.1)
    assert gaussianity(np.zeros((300, 3))).dagostino is None and gaussianity(np.eye(5)).dagostino is None


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_anderson_darling_is_scipys_with_stephens_correction():
    samples = np.random.default_rng(1).gumbel(size=(60, 3))
    slow = [stats.anderson(column, "norm").statistic * (1 + 0.75 / 60 + 2.25 / 60**2) for column in samples.T]
    np.testing.assert_allclose(anderson_darling(samples), slow, rtol=1e-8)


def test_effective_dimensions_of_known_spectra():
    flat, one = torch.ones(10), torch.tensor([2.0, 0, 0])
    assert participation_ratio(flat) == pytest.approx(10) == entropy_rank(flat)
    assert participation_ratio(one) == pytest.approx(1) == entropy_rank(one)
    assert [effective_dimension(flat, share) for share in (0.05, 0.1, 0.5, 0.99)] == [1, 1, 5, 10]
    assert effective_dimension(one, 0.99) == 1 and effective_dimension(torch.zeros(3), 0.99) == 0
    variances, axes = principal_axes(normal(500, 4) * torch.tensor([1.0, 3.0, 0.1, 0.0]))
    assert variances[0] == pytest.approx(9, rel=0.2) and variances[-1] == pytest.approx(0, abs=1e-12)
    assert axes[1, 0].abs() > 0.99


def test_uniformity_and_alignment_against_all_pairs():
    rows = F.normalize(normal(60, 5), dim=-1)
    every = torch.combinations(torch.arange(60))
    slow = math.log(np.mean([math.exp(-2 * float((rows[i] - rows[j]).square().sum())) for i, j in every]))
    assert uniformity(rows, tuple(every.T)) == pytest.approx(slow, rel=1e-5)
    assert uniformity(torch.ones(4, 3), (torch.tensor([0]), torch.tensor([1]))) == pytest.approx(0, abs=1e-6)
    pairs = Embeddings(rows, rows, torch.arange(60))
    assert pair_alignment(pairs).mean == pytest.approx(0, abs=1e-9)


def test_cka_is_blind_to_rotation_and_scale_and_low_between_strangers():
    rows = normal(500, 6)
    rotation = torch.linalg.qr(normal(6, 6, seed=2)).Q
    assert linear_cka(rows, 3 * rows @ rotation + 1) == pytest.approx(1, abs=1e-6)
    centered = rows - rows.mean(0)
    other = normal(500, 4, seed=3)
    kernel, other_kernel = centered @ centered.T, (other - other.mean(0)) @ (other - other.mean(0)).T
    slow = (kernel * other_kernel).sum() / kernel.norm() / other_kernel.norm()
    assert linear_cka(rows, other) == pytest.approx(slow.item(), rel=1e-4) and linear_cka(rows, other) < 0.05


def test_modalities_part_by_a_plane_until_they_are_centred():
    apart = separability(Embeddings(normal(900, 8) + 2, normal(900, 8, seed=1)))
    assert apart.as_they_are > 0.99 and apart.centred == pytest.approx(0.5, abs=0.1)
    rows = normal(300, 4)
    assert separability(Embeddings(rows, rows.flip(0))).as_they_are == pytest.approx(0.5, abs=0.1)
    # Many dimensions for these rows, in which means of few rows have errors that a plane could find.
    shifted = [Embeddings(normal(400, 96, seed=n) + 1, normal(400, 96, seed=9 + n), seed=n) for n in range(4)]
    many = [separability(embeddings) for embeddings in shifted]
    assert np.mean([accuracy.centred for accuracy in many]) == pytest.approx(0.5, abs=0.03)
    assert min(accuracy.as_they_are for accuracy in many) == 1


def test_a_state_is_the_same_twice_and_after_a_file_and_pairs_stay_apart():
    embeddings = pairs_with_a_gap(images=60)
    state = analyze(embeddings, draws=200)
    content = json.loads(json.dumps(state.to_json(), allow_nan=False))
    assert Geometry.from_json(content) == state == analyze(embeddings, draws=200)
    assert content["spread"]["images"]["dimensions_holding_0.99"] == state.spread["images"].dimensions_holding_share
    assert len(content["paired"]["residuals"]["gaussianity"]["skewness"]["values"]) == 12
    unpaired = analyze(Embeddings(embeddings.images, embeddings.texts), draws=200)
    assert unpaired.to_json()["paired"] is None and "paired" not in unpaired.to_json()["cosines"]
    assert state.gap == unpaired.gap and state.spread == unpaired.spread


def test_the_shipped_geometry_is_read_without_the_lists_that_were_left_out():
    content = json.loads((ROOT / "results/geometry_photos.json").read_text())["states"]
    states = {name: Geometry.from_json(state) for name, state in content.items()}
    raw, written = states["raw"], json.loads(json.dumps(states["raw"].to_json()))
    assert raw.gap.distance_of_means > 0.7 and raw.gap.axes.gap == [] == raw.cosines.paired.histogram
    assert (
        written["spread"]["images"].pop("spectrum") == []
        and written["spread"]["images"] == content["raw"]["spread"]["images"]
    )
    with pytest.raises(ValueError, match=r"gap\.distance_of_means"):
        Geometry.from_json(content["raw"] | {"gap": {"orthogonality": {}, "axes": {}}})


def test_after_an_alignment_rows_are_as_the_decoder_reads_them(make_store):
    store = make_store()
    raw = Embeddings(store.images("val"), store.texts("val"), torch.from_numpy(store.pairs("val")), seed=3)
    steps = [
        {"step": "Normalize"},
        {"step": "Center"},
        {"step": "GaussianNoise", "noise_std": 0.2},
        {"step": "Normalize"},
    ]
    chain = Alignment.from_store(steps, STEPS, store)
    noised, clean = aligned(raw, chain), aligned(raw, chain, text_noise=False)
    assert torch.equal(noised.images, chain.inference_side(raw.images)) and torch.equal(
        clean.texts, chain.clean_side(raw.texts)
    )
    assert torch.equal(noised.texts, aligned(raw, chain).texts) and not torch.allclose(noised.texts, clean.texts)
    before, after = analyze(raw, draws=100), analyze(clean, draws=100)
    assert after.gap.distance_of_means < 0.5 * before.gap.distance_of_means


def test_bad_rows_and_options_are_refused():
    rows = normal(5, 3)
    for arguments, message in (
        ((rows, normal(5, 4)), "must share D"),
        ((rows[:3], rows), "3 images and 5 texts are too few"),
        ((rows, rows, torch.tensor([0, 1, 2, 3, 5])), "image_row must name one of 5 images"),
    ):
        with pytest.raises(ValueError, match=message):
            Embeddings(*arguments)


@pytest.mark.parametrize("options", [{"variance_share": 1.0}, {"draws": 1}])
def test_statistics_of_impossible_settings_are_refused(options):
    (option,) = options
    with pytest.raises(ValueError, match=f"{option}=1.* must be "):
        analyze(Embeddings(torch.eye(8), torch.eye(8)), **options)
