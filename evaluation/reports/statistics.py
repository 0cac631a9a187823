"""Comparing methods on the same images: bootstrap intervals over images, and paired tests over images and seeds.

Values are a metric per image, (S, N): S seeds (training runs) of a method on the same N images, as in `per_image.json`.
For CIDEr-D, ROUGE-L and SPICE a set's score is the mean of its images' values. CIDEr-D's n-gram weights come from the
references of the *whole* set and are fixed here: the images are resampled, the weights are not.

An interval over images says how much a score of these trained models depends on the images that were drawn. The spread
over seeds says how much it depends on the training. A difference that should hold for other seeds must pass both tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from evaluation.reading import read_object

RESAMPLES = 10_000
_ELEMENTS_PER_BATCH = 2**22  # drawn row numbers in memory at a time: 32 MB


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and images with its 95 % percentile bootstrap interval over images, in the values' unit.

    Efron and Tibshirani 1993, chapter 13.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedComparison:
    """A method less a baseline on the same images, both with the same seeds.

    Attributes:
        difference: mean of the differences per image, each averaged over seeds.
        low: end of its interval, as in `Interval`.
        high: the other end.
        p_images: two-sided p of the same bootstrap: twice the smaller share of resamples at or beyond 0, at most 1.
        per_seed: the difference of each seed.
        p_seeds: p of a paired t-test over the seeds, None for one seed. With three seeds it has two degrees of freedom,
            so that a large p is weak evidence of equality.
    """

    difference: float
    low: float
    high: float
    p_images: float
    per_seed: list[float]
    p_seeds: float | None


def bootstrap_interval(values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The mean of values (S, N) and its interval over the N images.

    Raises:
        ValueError: there is no seed or image, or a value is not finite.
    """
    return _bootstrap(checked_values("values", values).mean(axis=0), resamples, seed)[0]


def paired_comparison(
    ours: np.ndarray, baseline: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> PairedComparison:
    """`ours` less `baseline`, each (S, N): row s of both is the same seed, column n the same image.

    Raises:
        ValueError: shapes differ, there is no seed or image, or a value is not finite.
    """
    ours, baseline = checked_values("ours", ours), checked_values("baseline", baseline)
    if ours.shape != baseline.shape:
        raise ValueError(
            f"A paired comparison needs the same seeds and images on both sides, got {ours.shape} and {baseline.shape}"
        )
    differences = ours - baseline
    per_seed = differences.mean(axis=1)
    interval, means = _bootstrap(differences.mean(axis=0), resamples, seed)
    return PairedComparison(
        difference=interval.value,
        low=interval.low,
        high=interval.high,
        p_images=p_of_draws(means),
        per_seed=per_seed.tolist(),
        p_seeds=t_test(per_seed),
    )


def read_per_image(folder: str | Path, metric: str) -> tuple[list[str], np.ndarray] | None:
    """Image ids and a metric's values (N,) of an evaluation's `per_image.json`; None when it could not run."""
    content = read_object(Path(folder) / "per_image.json", "evaluation")
    return (content["image_ids"], np.array(content[metric])) if metric in content else None


def _bootstrap(by_image: np.ndarray, resamples: int, seed: int) -> tuple[Interval, np.ndarray]:
    """The mean of (N,) values with its interval, and the means (resamples,) of the draws."""
    values = np.resize(by_image, max(2, len(by_image)))  # scipy refuses a single image
    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _ELEMENTS_PER_BATCH // len(values)),
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Interval(float(by_image.mean()), float(low), float(high)), result.bootstrap_distribution


def p_of_draws(means: np.ndarray) -> float:
    """Two-sided p of a difference from its means (R,) in bootstrap draws.

    The sample itself counts as a resample, so that no finite number of them gives p = 0 (Davison and Hinkley 1997,
    section 4.2.3).
    """
    beyond = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (len(means) + 1))


def t_test(per_seed: np.ndarray) -> float | None:
    """Two-sided p of a paired t-test over the differences (S,) of the seeds; None for one seed."""
    if len(per_seed) < 2:
        return None
    if np.ptp(per_seed) == 0:  # no spread: scipy would divide by it
        return 1.0 if per_seed[0] == 0 else 0.0
    result: Any = stats.ttest_1samp(per_seed, 0.0)
    return float(result.pvalue)


def checked_values(name: str, values: np.ndarray) -> np.ndarray:
    """The values (S, N) in double precision. Raises ValueError when there are none, or one is not finite."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{name} must be (seeds, images) with at least one of each, got {values.shape}")
    if bad := int((~np.isfinite(values)).sum()):
        raise ValueError(f"{name} must be finite, but {bad} of its values are not")
    return values
