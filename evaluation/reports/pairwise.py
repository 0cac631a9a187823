"""Tests between every two methods, from one bootstrap of the images that all pairs share.

A resample of N images is how often each was drawn, a row of N counts; R rows times the values of M methods are the
means of all methods in all resamples, and a pair's differences are those of two columns. The draws are those of
`statistics.paired_comparison`, and so are the results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import combinations
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from evaluation.reports.statistics import RESAMPLES, PairedComparison, checked_values, p_of_draws, t_test

ALPHA = 0.05
_DRAWS_AT_ONCE = 2**22  # image numbers in memory at a time: 32 MB
_ROUNDING = 1e-9  # of means of values up to some hundred: a smaller difference is none


@dataclass(frozen=True)
class PairTest:
    """A method less another one, with a decoding. p_holm: p over images after Holm's correction for all pairs of it."""

    decoding_name: str
    method: str
    other: str
    comparison: PairedComparison
    p_holm: float

    @property
    def is_significant(self) -> bool:
        """Whether the methods differ at 5 %, as likely to err once among all pairs."""
        return self.p_holm < ALPHA

    def turned(self) -> PairTest:
        """The same test of the other method less this one."""
        its = self.comparison
        turned = replace(
            its, difference=-its.difference, low=-its.high, high=-its.low, per_seed=[-value for value in its.per_seed]
        )
        return replace(self, method=self.other, other=self.method, comparison=turned)

    def to_json(self) -> dict[str, Any]:
        """The entry in `results.json`: the comparison's values are on the same level."""
        named = {"decoding_name": self.decoding_name, "method": self.method, "other": self.other}
        return {**named, **asdict(self.comparison), "p_holm": self.p_holm}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> PairTest:
        names = [known.name for known in fields(PairedComparison)]
        named = {name: value for name, value in content.items() if name not in names}
        compared = {name: value for name, value in content.items() if name in names}
        return TypeAdapter(cls).validate_python(named | {"comparison": compared})


def pairwise_tests(
    values: Mapping[str, Mapping[str, np.ndarray]], resamples: int | None = None, seed: int = 0
) -> list[PairTest]:
    """All pairs of methods, in the order in which `values` have them.

    Args:
        values: {decoding: {method: (S, N)}}, S seeds and N images, the same for all.
        resamples: of the images; None for enough that Holm's correction leaves pairs to be significant, see
            `enough_resamples`.

    Raises:
        ValueError: shapes differ, there is no seed or image, or a value is not finite.
    """
    columns = {
        (decoding, method): checked_values(method, scores)
        for decoding, methods in values.items()
        for method, scores in methods.items()
    }
    if len(shapes := {scores.shape for scores in columns.values()}) > 1:
        raise ValueError(f"Pairs need the same seeds and images for all methods, got {sorted(shapes)}")
    pairs = [(decoding, one, other) for decoding, methods in values.items() for one, other in combinations(methods, 2)]
    if not pairs:
        return []
    draws = resamples or enough_resamples(max(len(methods) for methods in values.values()))
    by_image = np.stack([scores.mean(axis=0) for scores in columns.values()], axis=1)  # (N, M)
    means = resampled_means(by_image, draws, seed)  # (R, M)
    places = {key: place for place, key in enumerate(columns)}
    compared = []
    for decoding, one, other in pairs:
        at, against = places[decoding, one], places[decoding, other]
        differences = columns[decoding, one] - columns[decoding, other]  # (S, N)
        compared.append(_compared(differences, means[:, at] - means[:, against]))
    tests = []
    for decoding in values:
        its = [number for number, pair in enumerate(pairs) if pair[0] == decoding]
        corrected = holm([compared[number].p_images for number in its])
        tests += [PairTest(*pairs[n], compared[n], p) for n, p in zip(its, corrected, strict=True)]
    return tests


def enough_resamples(methods: int) -> int:
    """Resamples for all pairs of so many methods.

    The smallest p is 2 / (resamples + 1), and Holm's correction multiplies it by the number of pairs: 300, of 25
    methods, could never be significant with 10,000 resamples. These many leave it at a fifth of `ALPHA`, at most.
    """
    return max(RESAMPLES, round(methods * (methods - 1) / ALPHA) * 5)


def resampled_means(by_image: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
    """Values (N, M) of N images -> means (R, M) of R bootstrap draws of the images, the same for all M columns."""
    means = [counts @ by_image for counts in _drawn_counts(len(by_image), resamples, seed)]
    return np.concatenate(means) / len(by_image)


def _drawn_counts(images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each image was drawn: parts of (R, N)."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _DRAWS_AT_ONCE // images)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = generator.integers(0, images, (rows, images)) + images * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of p-values for their number (https://www.jstor.org/stable/4615733), in the same order.

    The k-th smallest of m is multiplied by m - k + 1; none falls below a smaller one, nor exceeds 1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = values.argsort(kind="stable")
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return corrected.tolist()


def _compared(differences: np.ndarray, drawn: np.ndarray) -> PairedComparison:
    """Differences (S, N) and their means in the resamples (R,)."""
    per_seed = differences.mean(axis=1)
    drawn = np.where(np.abs(drawn) < _ROUNDING, 0, drawn)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return PairedComparison(
        difference=float(per_seed.mean()),
        low=float(low),
        high=float(high),
        p_images=p_of_draws(drawn),
        per_seed=per_seed.tolist(),
        p_seeds=t_test(per_seed),
    )
