"""Tests between every two methods to look at: a matrix for the page, drawn by `templates/pairs.html`, and a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embedding_space.media import Medium
from evaluation.reports.comparison_tables import signed_interval
from evaluation.reports.pairwise import PairTest

FEW_METHODS = 6  # so many are listed in Markdown, too


@dataclass(frozen=True)
class PairCell:
    """The difference of the row's method from the column's, and the words that a pointer shows over it.

    mark: `better` or `worse` where the difference is significant after Holm's correction, else "".
    """

    text: str
    title: str
    mark: str


@dataclass(frozen=True)
class PairMatrix:
    """Differences between all methods of a decoding, the best first. cells: a row for each; None on the diagonal."""

    title: str
    methods: list[str]
    cells: list[list[PairCell | None]]


def pair_matrices(tests: Sequence[PairTest], medium: Medium = "image") -> list[PairMatrix]:
    """A matrix for each decoding."""
    by_decoding: dict[str, list[PairTest]] = {}
    for test in tests:
        by_decoding.setdefault(test.decoding_name, []).append(test)
    return [_matrix(decoding, its, medium) for decoding, its in by_decoding.items()]


def pair_list(tests: Sequence[PairTest], medium: Medium = "image") -> str:
    """The tests as a list in Markdown; nothing for many methods."""
    if not tests or len({name for test in tests for name in (test.method, test.other)}) > FEW_METHODS:
        return ""
    lines = [f"- {test.decoding_name}: {_sentence(test, medium)}" for test in tests]
    return "\n".join(["CIDEr of every two methods:\n", *lines])


def _matrix(decoding: str, tests: Sequence[PairTest], medium: Medium) -> PairMatrix:
    ahead: dict[str, float] = {}  # the sum of a method's differences orders methods as their CIDEr does
    cells = {}
    for test in tests:
        difference, sentence = test.comparison.difference, _sentence(test, medium)
        for place, name, value in ((0, test.method, difference), (1, test.other, -difference)):
            ahead[name] = ahead.get(name, 0.0) + value
            mark = ("better" if value > 0 else "worse") if test.is_significant else ""
            pair = (test.method, test.other) if place == 0 else (test.other, test.method)
            cells[pair] = PairCell(f"{value:+.1f}", sentence, mark)
    methods = sorted(ahead, key=lambda name: -ahead[name])
    rows = [[cells.get((row, column)) for column in methods] for row in methods]
    return PairMatrix(f"CIDEr {decoding}: the row's method less the column's", methods, rows)


def _sentence(test: PairTest, medium: Medium) -> str:
    compared = test.comparison
    seeds = "" if compared.p_seeds is None else f"; p over seeds {compared.p_seeds:.2g}"
    return (
        f"{test.method} less {test.other} {signed_interval(compared)}; p over {medium}s {compared.p_images:.2g}, "
        f"{test.p_holm:.2g} after Holm's correction{seeds}"
    )
