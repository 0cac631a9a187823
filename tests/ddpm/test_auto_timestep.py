"""The injection step is found for images that are texts noised to a known step."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from alignment.auto_noise import EstimationRows
from alignment.chain import Alignment
from ddpm.auto_timestep import estimate_image_timestep
from ddpm.diffusion import TextDiffusion
from image_captioning.alignments import STEPS

DIM = 64


def diffusion() -> TextDiffusion:
    return TextDiffusion(DIM, {"kind": "mlp", "width": 8, "depth": 1}, embed_scale=3.0)


def texts(rows: int, seed: int) -> torch.Tensor:
    centers = torch.randn(30, DIM, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    chosen = centers[torch.randint(30, (rows,), generator=generator)]
    return F.normalize(chosen + 0.5 * torch.randn(rows, DIM, generator=generator), dim=-1)


def noised(model: TextDiffusion, rows: torch.Tensor, timestep: int) -> torch.Tensor:
    noise = torch.randn(rows.shape, generator=torch.Generator().manual_seed(5))
    return F.normalize(model.add_noise(rows, timestep, noise), dim=-1)


@pytest.mark.parametrize("timestep", [100, 300])
def test_the_step_is_found_from_pairs_and_without_them(timestep):
    model = diffusion()
    paired = EstimationRows(noised(model, texts(900, 1), timestep), texts(900, 1), True, {})
    assert estimate_image_timestep(model, paired)["value"] == pytest.approx(timestep, abs=8)
    unpaired = EstimationRows(noised(model, texts(900, 2), timestep), texts(1500, 1), False, {})
    assert estimate_image_timestep(model, unpaired)["value"] == pytest.approx(timestep, abs=25)


def test_the_expected_cosine_is_that_of_noised_rows():
    model, rows = diffusion(), texts(2000, 1)
    for timestep in (0, 50, 400):
        measured = F.cosine_similarity(noised(model, rows, timestep), rows, dim=-1).mean().item()
        assert model.expected_cosine(timestep) == pytest.approx(measured, abs=0.01)


def test_images_equal_to_texts_enter_at_the_first_step_and_strangers_are_refused():
    model, rows = diffusion(), texts(500, 1)
    assert estimate_image_timestep(model, EstimationRows(rows, rows, True, {}))["value"] <= 2
    assert estimate_image_timestep(model, EstimationRows(-rows, rows, True, {}))["value"] == 999
    with pytest.raises(ValueError, match="image_timestep=auto finds no value"):
        estimate_image_timestep(model, EstimationRows(-rows.mean(0).expand(10, -1), rows, False, {}))


def test_a_bridge_takes_its_step_from_the_store(make_store, tmp_path):
    store = make_store()
    center = [{"step": "Normalize"}, {"step": "Center"}, {"step": "Normalize"}]
    model = TextDiffusion(store.dim, {"kind": "mlp", "width": 8, "depth": 1})
    model.prefix = Alignment.from_store(center, STEPS, store)
    model.save_pretrained(tmp_path / "ddpm")
    step = {"step": "DiffusionBridge", "diffusion": str(tmp_path / "ddpm"), "image_timestep": "auto"}
    for data in ("unpaired", "pairs"):
        alignment = Alignment.from_store([*center, {**step, "estimate": {"data": data}}, center[0]], STEPS, store)
        (found,) = alignment.estimates
        options = alignment.options()[3]
        assert options["image_timestep"] == found["value"] and options["image_steps"] <= found["value"]
        assert found["data"] == data and found["uses_pairs"] == (data == "pairs")
