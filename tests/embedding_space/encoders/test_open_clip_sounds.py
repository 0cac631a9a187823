"""Sounds as spectrograms in an open_clip model's image tower."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from common.paths import ROOT
from embedding_space.encoders.identity import is_same_encoder
from embedding_space.encoders.load import load_encoder, reload_encoder
from embedding_space.mel import LogMel

pytestmark = pytest.mark.usefixtures("tiny_models")
# 64 bands and 64 frames, what the tiny tower's position embeddings are for.
SOUND = {"sample_rate": 16000, "seconds": 0.985, "mels": 64, "window": 1024, "hop": 250}


def sound_encoder(**options):
    return load_encoder(
        **{"name": "sounds", "model": "tiny", "pretrained": "random", "sound": SOUND, "device": "cpu", **options}
    )


def test_rows_are_the_towers_of_the_spectrograms(tmp_path, write_sound):
    random = np.random.default_rng(0)
    paths = [write_sound(tmp_path / f"{n}.wav", random.uniform(-1, 1, 16_000 * (n + 1))) for n in range(3)]
    (tmp_path / "broken.wav").write_text("no sound")
    encoder = sound_encoder(batch_size=2)
    pictures = torch.stack([LogMel(**SOUND)(path) for path in paths])
    assert pictures.shape == (3, 3, 64, 64)
    expected = F.normalize(encoder.model.encode_image(pictures), dim=-1)
    rows, kept, reasons = encoder.encode_readable_images([paths[0], tmp_path / "broken.wav", *paths[1:]])
    assert torch.allclose(rows, expected, atol=1e-5) and kept == [0, 2, 3] and "broken.wav cannot" in reasons[0]
    assert torch.allclose(encoder.encode_images(paths[2:]), expected[2:], atol=1e-5)
    assert encoder.encode_texts(["rain"]).shape == (1, 24)
    assert len(pickle.dumps(encoder.load)) < 10_000


def test_the_description_holds_all_options_and_makes_the_encoder_again():
    encoder = sound_encoder()
    assert encoder.medium == "sound" and encoder.description["sound"] == LogMel(**SOUND).to_json()
    again = reload_encoder(json.loads(json.dumps(encoder.description)), device="cpu")
    assert is_same_encoder(again.description, encoder.description) and again.mel == encoder.mel
    other = sound_encoder(sound={**SOUND, "crop": "start"})
    assert not is_same_encoder(other.description, encoder.description)


def test_a_model_of_sounds_encodes_no_pictures():
    with pytest.raises(ValueError, match="The encoder sounds has no transform of pictures"):
        _ = sound_encoder().preprocess
    with pytest.raises(ValueError, match="The encoder sounds has no patch tokens: set patches=false"):
        _ = sound_encoder().patch_shape


def test_pictures_have_no_trace_of_sounds():
    assert set(load_encoder("t", model="tiny", pretrained="random", device="cpu").description) == {
        "name",
        "model",
        "pretrained",
        "precision",
    }


def test_a_folder_says_itself_that_its_model_reads_sounds(tmp_path, write_sound):
    folder = tmp_path / "clap"
    shutil.copytree(ROOT / "pretrained" / "demo_clip", folder)
    trained = LogMel(seconds=1, mels=32)
    trained.save(folder)
    encoder = load_encoder("clap", model=f"local-dir:{folder}", device="cpu")
    assert encoder.medium == "sound" and encoder.description["sound"] == trained.to_json()
    assert encoder.encode_images([write_sound(tmp_path / "a.wav", np.ones(99))]).shape == (1, 128)
    with pytest.raises(ValueError, match=r"encoder\.sound\.mels=64 is not what .* was trained with \(32"):
        load_encoder("clap", model=f"local-dir:{folder}", sound={"mels": 64}, device="cpu")
