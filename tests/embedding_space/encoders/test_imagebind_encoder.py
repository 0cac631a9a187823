"""ImageBind's encoder against a stand-in for its package, which is not needed to test what is ours."""

from __future__ import annotations

import importlib.machinery
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from embedding_space.encoders.identity import is_same_encoder
from embedding_space.encoders.load import load_encoder, reload_encoder


class StandIn(nn.Module):
    """Towers by name; a sound's clips are averaged, and its logit scale of 20 stays on, as in the package."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.towers = nn.ParameterDict(
            {name: torch.randn(6, 4, generator=generator) for name in ("vision", "text", "audio")}
        )

    def forward(self, inputs):
        rows = {}
        for name, batch in inputs.items():
            row = F.normalize(batch.float() @ self.towers[name], dim=-1) * (20 if name == "audio" else 1)
            rows[name] = row.mean(dim=1) if row.ndim == 3 else row
        return rows


def numbers(path, clips):
    values = torch.tensor([float(value) for value in Path(path).read_text().split()])
    return values if clips is None else torch.stack([values + clip for clip in range(clips)])


@pytest.fixture
def imagebind(monkeypatch):
    """A package of the public names that are used."""
    package, data, models, library = (
        ModuleType(name)
        for name in ("imagebind", "imagebind.data", "imagebind.models", "imagebind.models.imagebind_model")
    )
    package.__path__, models.__path__ = [], []
    package.__spec__ = importlib.machinery.ModuleSpec("imagebind", None, is_package=True)
    data.load_and_transform_vision_data = lambda paths, device: torch.stack([numbers(path, None) for path in paths])
    data.load_and_transform_audio_data = lambda paths, device: torch.stack([numbers(path, 3) for path in paths])
    data.load_and_transform_video_data = lambda paths, device: torch.stack([numbers(path, 15) for path in paths])
    data.load_and_transform_text = lambda texts, device: torch.tensor([[len(text)] * 5 + [1] for text in texts])
    library.ModalityType = SimpleNamespace(VISION="vision", TEXT="text", AUDIO="audio")
    library.imagebind_huge = lambda pretrained: StandIn()
    for module in (package, data, models, library):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def imagebind_encoder(**options):
    return load_encoder(**{"name": "imagebind", "kind": "imagebind", "device": "cpu", **options})


@pytest.mark.usefixtures("imagebind")
@pytest.mark.parametrize(
    ("medium", "tower", "clips"), [("image", "vision", 1), ("sound", "audio", 3), ("video", "vision", 15)]
)
def test_rows_are_the_towers_means_over_clips_of_unit_length(tmp_path, medium, tower, clips):
    paths = [tmp_path / f"{n}.bin" for n in range(3)]
    for number, path in enumerate(paths):
        path.write_text(" ".join(str(value * (number + 1) - 3) for value in range(6)))
    encoder = imagebind_encoder(medium=medium, batch_size=2)
    weight = encoder.model.towers[tower]
    expected = [torch.stack([F.normalize((numbers(p, None) + c) @ weight, dim=0) for c in range(clips)]) for p in paths]
    expected = F.normalize(torch.stack([rows.mean(dim=0) for rows in expected]), dim=-1)
    assert torch.allclose(encoder.encode_images(paths), expected, atol=1e-5) and encoder.medium == medium
    assert encoder.encode_texts(["a dog"]).norm().item() == pytest.approx(1, abs=1e-5)
    (tmp_path / "broken.bin").write_text("no numbers")
    _, kept, reasons = encoder.encode_readable_images([tmp_path / "broken.bin", tmp_path / "gone.bin", paths[0]])
    assert kept == [2] and f"broken.bin cannot be read as a {medium}" in reasons[0] and "There is no" in reasons[1]


@pytest.mark.usefixtures("imagebind")
def test_the_description_makes_the_encoder_again():
    description = json.loads(json.dumps(imagebind_encoder(medium="video").description))
    assert is_same_encoder(reload_encoder(description, device="cpu").description, description)
    assert not is_same_encoder(imagebind_encoder(medium="image").description, description)
    with pytest.raises(ValueError, match=r"encoder\.medium='film' must be"):
        imagebind_encoder(medium="film")
    with pytest.raises(ValueError, match=r"encoder\.model=tiny is no model of the package imagebind"):
        imagebind_encoder(model="tiny")


def test_without_the_package_the_remedy_and_the_license_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagebind", None)
    with pytest.raises(ImportError, match=r"pip install .*ImageBind.*CC BY-NC 4\.0.*encoder=clap"):
        imagebind_encoder()
