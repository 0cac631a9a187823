"""Why the gap stays: gradients of InfoNCE where rows do not vary, and what training makes of an offset."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from evaluation.geometry.contrastive_gap import contrastive_gap
from evaluation.geometry.gap_experiment import GapExperiment, contrastive_loss


def rows(seed: int, value: float) -> torch.Tensor:
    """(12, 5) rows, constant in the last two dimensions."""
    drawn = torch.randn(12, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.cat([drawn, torch.full((12, 2), value, dtype=torch.float64)], dim=1).requires_grad_()


def test_infonce_has_no_gradient_where_the_other_modality_is_constant():
    images, texts = rows(0, 0.7), rows(1, -0.3)
    F.cross_entropy(images @ texts.T / 0.1, torch.arange(12)).backward()  # each image among the texts
    assert images.grad[:, 3:].abs().max() < 1e-12 and images.grad[:, :3].abs().max() > 1e-2


def test_the_symmetric_loss_leaves_the_mean_of_a_constant_dimension_and_no_other():
    images, texts = rows(0, 0.7), rows(1, -0.3)
    contrastive_loss(images, texts, 0.1).backward()
    for part in (images.grad, texts.grad):
        assert part.sum(0)[3:].abs().max() < 1e-12 and part.sum(0)[:3].abs().max() > 1e-2


def test_the_symmetric_loss_is_the_mean_of_both_directions():
    images, texts = rows(0, 0.7), rows(1, -0.3)
    logits, pairs = images @ texts.T / 0.1, torch.arange(12)
    expected = (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2
    torch.testing.assert_close(contrastive_loss(images, texts, 0.1), expected)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_an_offset_stays_in_constant_dimensions_and_shrinks_in_the_others(temperature):
    curves = GapExperiment(pairs=32, varying=3, constant=2, steps=200, learning_rate=0.02).run(temperature)
    assert {len(values) for values in curves.values()} == {201}
    assert curves["varying"][0] == pytest.approx(1) and curves["constant"][0] == pytest.approx(1)
    assert max(abs(value - 1) for value in curves["constant"]) < 1e-9
    assert curves["varying"][-1] < 0.8 and curves["loss"][-1] < 0.5 * curves["loss"][0]
    assert curves["alignment"][-1] < 0.5 * curves["alignment"][0]


def test_equal_options_give_equal_curves_and_temperatures_start_alike():
    experiment = GapExperiment(pairs=8, steps=3)
    first, second = (experiment.run(temperature) for temperature in (0.1, 1.0))
    assert experiment.run(0.1) == first and first["varying"][0] == second["varying"][0]


def test_unit_rows_are_of_unit_length():
    images, _ = GapExperiment(unit_rows=True).modalities()
    torch.testing.assert_close(images().norm(dim=-1), torch.ones(256, dtype=torch.float64))


@pytest.mark.parametrize(("name", "value"), [("pairs", 1), ("constant", 0), ("steps", 0), ("offset", 0.0)])
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} must be greater than"):
        GapExperiment(**{name: value})


def test_the_command_writes_its_figure_and_all_curves(compose, tmp_path, capsys):
    config = compose("contrastive_gap", "pairs=16", "steps=5", "temperatures=[0.1,1.0]", f"output_dir={tmp_path}")
    results = contrastive_gap(config)
    assert json.loads((tmp_path / "contrastive_gap.json").read_text()) == results
    assert len(results["curves"]["unit rows"]["0.1"]["loss"]) == 6 and results["command"]
    assert all((tmp_path / f"contrastive_gap.{ending}").stat().st_size > 5000 for ending in ("png", "svg"))
    assert "gap, constant" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"unit_rows=\[\]"):
        contrastive_gap(compose("contrastive_gap", "unit_rows=[]", f"output_dir={tmp_path}"))


def test_a_temperature_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="temperature=0"):
        GapExperiment(pairs=4, steps=1).run(0)
