"""Encoders: what is refused instead of silently loading other weights, and what a store gets to know of an encoder."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from embedding_space.encoders.base import Encoder
from embedding_space.encoders.load import reload_encoder
from embedding_space.encoders.open_clip_encoder import OpenClipEncoder


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        ("ViT-B-33", "openai", r"encoder\.model=ViT-B-33 encoder\.pretrained=openai: .*ViT-B-32"),
        ("ViT-B-32", "nowhere", r"encoder\.model=ViT-B-32 encoder\.pretrained=nowhere cannot be loaded"),
        ("ViT-B-32", None, r"encoder\.model=ViT-B-32 encoder\.pretrained=None would give random weights.*openai"),
        ("ViT-B-32", "openai", r"set encoder\.model=ViT-B-32-quickgelu"),
        ("ViT-B/32", "openai", r"set encoder\.model=ViT-B-32-quickgelu"),
        ("local-dir:pretrained/any", "openai", r"No open_clip model in pretrained/any"),
    ],
)
def test_other_weights_than_asked_for_are_refused(model, pretrained, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        OpenClipEncoder("clip", model, pretrained)


def test_a_local_folder_has_its_own_weights(tmp_path):
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"set encoder\.pretrained=null"):
        OpenClipEncoder("clip", f"local-dir:{tmp_path}", "openai")
    with pytest.raises(ValueError, match=r"pretrained=None cannot be loaded"):
        OpenClipEncoder("clip", f"local-dir:{tmp_path}")


def test_a_damaged_checkpoint_file_is_named(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"junk" * 100)
    with pytest.raises(ValueError, match=r"weights\.pt cannot be loaded"):
        OpenClipEncoder("clip", "ViT-S-32-alt", str(tmp_path / "weights.pt"))


def test_random_weights_are_given_on_request_and_the_description_names_the_precision(tmp_path):
    encoder = OpenClipEncoder("clip", "ViT-S-32-alt", "random", precision="bf16", device="cpu")
    assert encoder.description == {
        "name": "clip",
        "model": "ViT-S-32-alt",
        "pretrained": "random",
        "precision": "bf16",
    }
    Image.new("RGBA", (40, 30), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGB", (40, 30), "white").save(tmp_path / "white.png")
    (tmp_path / "no.png").write_text("no picture")
    rows, kept, reasons = encoder.encode_readable_images(
        [tmp_path / "clear.png", tmp_path / "no.png", tmp_path / "white.png"]
    )
    assert kept == [0, 2] and len(reasons) == 1 and "no.png cannot be read" in reasons[0]
    assert rows.shape == (2, encoder.dim) and torch.allclose(rows.norm(dim=-1), torch.ones(2), atol=1e-3)
    assert torch.equal(rows[0], rows[1])


@pytest.mark.parametrize("size", [0, -3])
def test_a_batch_of_nothing_is_refused(size):
    with pytest.raises(ValueError, match=rf"batch_size={size} \(option encoder.batch_size\) must be at least 1"):
        Encoder(batch_size=size)
    for option in ("patch_pool", "patch_upsample"):
        with pytest.raises(ValueError, match=rf"{option}={size} \(option encoder.{option}\) must be at least 1"):
            Encoder(**{option: size})


def test_an_encoder_comes_back_in_the_precision_of_this_machine_unless_another_is_asked_for(monkeypatch):
    monkeypatch.setattr("embedding_space.encoders.load.load_encoder", lambda **options: options)
    made_on_a_gpu = {"name": "x", "model": "m", "precision": "fp16"}
    assert reload_encoder(made_on_a_gpu, device="cuda") == {**made_on_a_gpu, "device": "cuda", "precision": "auto"}
    assert reload_encoder(made_on_a_gpu, precision="fp16", batch_size=3) == {**made_on_a_gpu, "batch_size": 3}
    assert made_on_a_gpu["precision"] == "fp16"
