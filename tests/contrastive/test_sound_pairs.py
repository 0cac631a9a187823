"""Training a small CLAP: spectrograms, their augmentation, and a folder that the encoders read as one of sounds."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from contrastive.sound_pairs import SoundPairs, louder, silence, without_bands
from contrastive.training_run import train
from contrastive.word_tokenizer import train_word_tokenizer
from embedding_space.encoders.load import load_encoder
from embedding_space.mel import LogMel
from embedding_space.tables import read_tables, write_tables
from training.batches import StepRandom

MEL = LogMel(sample_rate=8000, seconds=0.5, mels=16, window=256, hop=128, short="pad")
TINY = [
    "model.embed_dim=16",
    "~model.vision_cfg.timm_model_name",
    "~model.vision_cfg.timm_pool",
    "~model.vision_cfg.timm_proj",
    "+model.vision_cfg={patch_size: 16, width: 32, layers: 1, head_width: 16}",
    "model.text_cfg={context_length: 6, width: 32, heads: 2, layers: 1}",
    *(
        f"model.sound.{name}={MEL.to_json()[name]}"
        for name in ("sample_rate", "seconds", "mels", "window", "hop", "short")
    ),
    "model.shift_frames=1",
    "model.mask_mels=2",
    "loop.batch_size=8",
    "loop.precision='no'",
    "loop.warmup_steps=2",
    "loop.checkpoint_every=null",
]
TONES = {"low": 300, "middle": 900, "high": 2700}


@pytest.fixture
def tones(tmp_path, write_sound):
    """Tones of three heights, soft or loud, with captions that say so: a folder of tables, splits pretrain and val."""
    root, images, captions = tmp_path / "tones", [], []
    seconds = np.arange(4000) / 8000
    for split in ("pretrain", "val"):
        for height, hertz in TONES.items():
            for name, loudness in (("soft", 0.02), ("loud", 0.5)):
                for phase in range(3):
                    number = len(images)
                    path = root / f"sounds/{split}_{number}.wav"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_sound(path, loudness * np.sin(2 * np.pi * hertz * seconds + phase), 8000)
                    images.append({"image_id": path.stem, "path": f"sounds/{path.name}", "split": split})
                    caption = {"caption_id": path.stem, "image_row": number, "caption": f"a {name} {height} tone"}
                    captions.append({**caption, "split": split})
    write_tables(root, images, captions)
    return root


@pytest.fixture
def pairs(tones):
    tables = read_tables(tones)
    tokenizer = train_word_tokenizer(tables.captions["caption"].to_pylist(), 50)
    return lambda **options: SoundPairs(
        tables, "val", torch.device("cpu"), tokenizer, 6, MEL,
        **{"shift_frames": 0, "gain_db": 0.0, "mask_mels": 0, **options},
    )  # fmt: skip


def test_spectrograms_are_those_that_the_encoder_reads(pairs, tones):
    data = pairs()
    paths = read_tables(tones).image_paths(data.image_rows)
    assert data.spectrograms.shape == (18, 16, MEL.frames)
    torch.testing.assert_close(data.spectrograms[5].float(), MEL(paths[5])[0], atol=2e-3, rtol=0)
    sounds, tokens = data.draw(torch.tensor([5, 0]), StepRandom(0, 0, 2, slice(0, 2)))
    assert sounds.shape == (2, MEL.channels, 16, MEL.frames) and tokens.shape == (2, 6)
    torch.testing.assert_close(sounds[0, 0], data.spectrograms[5].float())


def test_augmentation_is_the_same_for_a_step_and_other_for_the_next(pairs):
    data, numbers = pairs(shift_frames=2, gain_db=6.0, mask_mels=4), torch.arange(6)
    first, again, later = (data.draw(numbers, StepRandom(0, step, 6, slice(0, 6)))[0] for step in (0, 0, 1))
    assert torch.equal(first, again) and not torch.allclose(first, later)
    assert first.min() >= silence(MEL) - 1e-6


def test_louder_sounds_are_higher_by_the_gain_and_silence_stays():
    sounds = torch.full((2, 1, 3, 4), 0.5)
    sounds[:, :, 0] = silence(MEL)
    changed = louder(sounds, torch.tensor([10.0, -100.0]), MEL)
    assert (changed[:, :, 0] == silence(MEL)).all() and torch.allclose(changed[0, :, 1:], torch.tensor(0.5 + 10 / 20))
    assert (changed[1, :, 1:] == silence(MEL)).all(), "no softer than silence"
    inexact = replace(MEL, floor_db=-70.0, mean_db=-43.0, std_db=17.0)  # its silence is no number of half precision
    kept = torch.full((1, 1, 8, 4), (-70 + 43) / 17).half().float()
    assert torch.equal(louder(kept, torch.tensor([6.0]), inexact), kept)


def test_masked_bands_are_silent_and_others_untouched():
    sounds = torch.zeros(2, 1, 16, 4)
    masked = without_bands(sounds, torch.tensor([3, 14]), torch.tensor([2, 4]), MEL)
    silent = (masked == silence(MEL)).all(dim=-1)[:, 0]
    assert silent[0].nonzero().flatten().tolist() == [3, 4] and silent[1].nonzero().flatten().tolist() == [14, 15]


def test_a_trained_folder_encodes_sounds(tones, compose, tmp_path):
    config = compose(
        "contrastive", "model=clap", "dataset=tables", "dataset.name=tones", f"dataset.root={tones}",
        "dataset.pairs_split=pretrain", f"output_dir={tmp_path / 'clap'}", *TINY, "loop.steps=120",
        "loop.learning_rate=3e-3", "loop.evaluate_every=null",
    )  # fmt: skip
    train(config)
    encoder = load_encoder("tones", model=f"local-dir:{tmp_path / 'clap'}", device="cpu")
    assert encoder.medium == "sound" and encoder.description["sound"]["mels"] == 16
    tables = read_tables(tones)
    rows = encoder.encode_images(tables.image_paths(tables.image_rows("val")))
    texts = encoder.encode_texts([f"a {name} {height} tone" for height in TONES for name in ("soft", "loud")])
    right = (rows @ texts.T).argmax(dim=1) == torch.arange(6).repeat_interleave(3)
    assert right.float().mean() > 0.5
    assert json.loads((tmp_path / "clap/manifest.json").read_text())["uses_pairs"] is True


def test_bad_options_are_refused(tones, compose, tmp_path):
    with pytest.raises(ValueError, match=r"model\.sound\.f_max=9000 must be above"):
        train(compose(
            "contrastive", "model=clap", "dataset=tables", "dataset.name=tones", f"dataset.root={tones}",
            "dataset.pairs_split=pretrain", f"output_dir={tmp_path / 'clap'}", *TINY, "model.sound.f_max=9000",
        ))  # fmt: skip
