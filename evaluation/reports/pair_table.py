"""All tests between two methods as one table, from which a reader picks: drawn by `templates/pair_table.html`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.reports.comparison_tables import signed_interval
from evaluation.reports.pair_matrix import PairMatrix
from evaluation.reports.pairwise import PairTest


@dataclass(frozen=True)
class PairRow:
    """A test, as text; the method that is ahead comes first.

    Attributes:
        difference: of the two CIDEr, `method` less `other`.
        interval: of the difference, 95 %.
        p_images, p_holm, p_seeds: as in `PairTest`; p_seeds is a dash for one seed.
        is_significant: after Holm's correction.
    """

    decoding: str
    method: str
    other: str
    difference: str
    interval: str
    p_images: str
    p_holm: str
    p_seeds: str
    is_significant: bool


@dataclass(frozen=True)
class PairTable:
    """All tests.

    Attributes:
        medium: of the test set's files.
        methods: the best first, with the first decoding.
        decodings: in the comparison's order.
        rows: for each decoding the pairs in the methods' order.
    """

    medium: str
    methods: list[str]
    decodings: list[str]
    rows: list[PairRow]


def pair_table(tests: Sequence[PairTest], matrices: Sequence[PairMatrix], medium: str = "image") -> PairTable | None:
    """The table of tests whose matrices are `matrices`; None for no tests."""
    if not tests:
        return None
    methods = list(dict.fromkeys(name for matrix in matrices for name in matrix.methods))
    decodings = list(dict.fromkeys(test.decoding_name for test in tests))
    places = {name: place for place, name in enumerate(methods)}
    ordered = [ahead_first(test) for test in tests]
    ordered.sort(key=lambda test: (decodings.index(test.decoding_name), places[test.method], places[test.other]))
    return PairTable(medium, methods, decodings, [_row(test) for test in ordered])


def ahead_first(test: PairTest) -> PairTest:
    """The test of the better method less the worse one."""
    return test if test.comparison.difference >= 0 else test.turned()


def _row(test: PairTest) -> PairRow:
    compared = test.comparison
    difference, _, interval = signed_interval(compared).partition(" ")
    return PairRow(
        test.decoding_name,
        test.method,
        test.other,
        difference,
        interval,
        p_images=f"{compared.p_images:.2g}",
        p_holm=f"{test.p_holm:.2g}",
        p_seeds="–" if compared.p_seeds is None else f"{compared.p_seeds:.2g}",
        is_significant=test.is_significant,
    )
