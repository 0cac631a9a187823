"""A method's config as entries of steps."""

from __future__ import annotations

import pytest

from alignment.options import expand_steps, step_entries, training_side
from common.paths import CONFIGS
from image_captioning.alignments import STEPS

NORMALIZE = {"step": "Normalize"}


def test_flat_options_reach_every_step_that_has_them():
    method = {
        "name": "mine",
        "noise_std": 0.1,
        "temperature": 0.5,
        "steps": ["Normalize", "GaussianNoise", "TextMemory"],
    }
    entries = [NORMALIZE, {"step": "GaussianNoise", "noise_std": 0.1}, {"step": "TextMemory", "temperature": 0.5}]
    assert step_entries(method, STEPS) == entries
    assert step_entries({"steps": entries}, STEPS) == entries  # whole entries stay as they are
    with pytest.raises(ValueError, match=r"alignment.sigma is an option of no step .*; known: estimate, noise_std"):
        step_entries({"steps": ["GaussianNoise"], "sigma": 1}, STEPS)
    with pytest.raises(ValueError, match="Unknown alignment step 'Whiten'"):
        step_entries({"steps": ["Whiten"]}, STEPS)


@pytest.mark.parametrize("name", [path.stem for path in (CONFIGS / "alignment").glob("*.yaml")])
def test_every_shipped_method_expands(compose, name):
    method = compose("image_captioning", f"alignment={name}").alignment
    names = list(method.steps)
    assert [entry["step"] for entry in expand_steps(method, STEPS)] == names
    assert expand_steps(method, STEPS) == method.steps  # once more changes nothing


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ([{"step": "Normalize"}], [{"step": "Normalize"}, {"step": "TextMemory"}, {"step": "Normalize"}], True),
        ([{"step": "TextMemory", "temperature": 0.1}], [], True),
        ([{"step": "DiffusionBridge", "image_timestep": 3}], [{"step": "DiffusionBridge", "image_timestep": 4}], True),
        ([{"step": "DiffusionBridge", "text_timestep": 3}], [{"step": "DiffusionBridge", "text_timestep": 4}], False),
        ([{"step": "DiffusionBridge", "eta": 0.0}], [{"step": "DiffusionBridge", "eta": 0.5}], False),
        ([{"step": "GaussianNoise", "noise_std": 1}], [{"step": "GaussianNoise", "noise_std": 2}], False),
        ([{"step": "Center"}, {"step": "Normalize"}], [{"step": "Normalize"}, {"step": "Center"}], False),
        (
            [{"step": "DiffusionBridge", "image_timestep": 3}],
            [{"step": "DiffusionBridge", "image_timestep": "auto"}],
            False,
        ),
        ([{"step": "ModalityTranslation", "translation": "run"}], [], False),
        (
            [{"step": "GaussianNoise", "noise_std": "auto", "estimate": {"data": "pairs"}}],
            [{"step": "GaussianNoise", "noise_std": "auto", "estimate": {"data": "unpaired"}}],
            False,
        ),
    ],
)
def test_the_training_side_of_a_config_leaves_out_what_concerns_images_alone(one, other, alike):
    assert (training_side(one, STEPS) == training_side(other, STEPS)) is alike
