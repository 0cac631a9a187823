"""Two sets in one network's features, with their rows or in constant memory."""

from __future__ import annotations

import pytest
import torch

from evaluation.pictures.compared_sets import ComparedSets
from evaluation.pictures.features import EncoderFeatures


@pytest.fixture
def make_sets(write_pictures, color_encoder):
    made = sorted(write_pictures("made", ["red", "green", "blue", "red"], sentences=False).iterdir())
    real = sorted(write_pictures("real", ["red", "blue", "blue"], sentences=False).iterdir())

    def make(keep_rows: bool) -> ComparedSets:
        return ComparedSets(lambda: EncoderFeatures(color_encoder()), made, real, 16, keep_rows)

    return make


def test_moments_are_enough_for_the_frechet_distance(make_sets):
    with_rows, without = make_sets(True), make_sets(False)
    assert with_rows.generated.rows.shape == (4, 3) and without.generated.rows.shape == (0, 3)
    torch.testing.assert_close(with_rows.references.moments.covariance, without.references.moments.covariance)
    torch.testing.assert_close(with_rows.generated.unit_rows.norm(dim=1), torch.ones(4))


def test_few_pictures_for_many_dimensions_get_a_warning(make_sets):
    warning = make_sets(False).too_few()
    assert warning.startswith("3 pictures are too few for 3 dimensions: the Fréchet distance by colors")
