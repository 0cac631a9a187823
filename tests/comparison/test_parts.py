"""Parts of captions or pairs: shares and numbers, and what is refused."""

from __future__ import annotations

import pytest

from comparison.parts import Part, parts_of


def test_shares_and_numbers_are_parts_of_everything():
    assert parts_of("few_pairs", [0.05, 30, 1], 60, "pairs") == [
        Part("5 %", "5pct", 3, 5.0, False),
        Part("30", "30", 30, 50.0, False),
        Part("100 %", "100pct", 60, 100.0, True),
    ]
    [nearly] = parts_of("few_captions", [566_746], 566_747, "captions")
    assert nearly.percent == 100 and not nearly.is_everything
    assert parts_of("few_pairs", [0.0001], 60, "pairs")[0].count == 1


@pytest.mark.parametrize("values", [[0], [-0.1], [61], [1.5], [True], ["all"]])
def test_what_is_no_part_is_refused(values):
    with pytest.raises(ValueError, match=r"few_pairs=.* must be shares up to 1 or numbers of pairs up to 60, not"):
        parts_of("few_pairs", values, 60, "pairs")


def test_the_same_part_twice_is_refused():
    with pytest.raises(ValueError, match=r"few_pairs=\[0\.5, 30\] names a part of the 60 pairs twice"):
        parts_of("few_pairs", [0.5, 30], 60, "pairs")
