"""CLAP against transformers' own path, from sound files to rows, with tiny random models."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, PreTrainedTokenizerFast

from embedding_space.encoders.identity import is_same_encoder
from embedding_space.encoders.load import load_encoder, reload_encoder
from embedding_space.sounds import read_sound

RATE = 8000
SENTENCES = ["a bell rings", "rain", "a dog barks and a bell rings"]


def save_clap(folder, fused: bool) -> None:
    """A tiny CLAP whose extractor takes one second."""
    torch.manual_seed(0)
    audio = {
        "spec_size": 64, "num_mel_bins": 64, "window_size": 4, "hidden_size": 32, "depths": [1, 1],
        "num_attention_heads": [2, 2], "num_hidden_layers": 2, "patch_embeds_hidden_size": 16, "projection_dim": 12,
        "patch_embed_input_channels": 1, "aff_block_r": 2, "enable_fusion": fused,
        "fusion_type": "aff_2d" if fused else None,
    }  # fmt: skip
    text = {
        "vocab_size": 16, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
        "max_position_embeddings": 12, "projection_dim": 12, "pad_token_id": 1,
    }  # fmt: skip
    model = ClapModel(ClapConfig(audio_config=audio, text_config=text, projection_dim=12)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    words = ["<s>", "<pad>", "</s>", "<unk>", *sorted({word for text in SENTENCES for word in text.split()})]
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    ClapFeatureExtractor(
        sampling_rate=RATE, hop_length=160, max_length_s=1, fft_window_size=256, frequency_max=4000,
        truncation="fusion" if fused else "rand_trunc",
    ).save_pretrained(folder)  # fmt: skip


@pytest.fixture(scope="module", params=[False, True], ids=["unfused", "fused"])
def clap(request, tmp_path_factory):
    """The folder of a tiny CLAP, and whether it is fused."""
    folder = tmp_path_factory.mktemp("clap")
    save_clap(folder, request.param)
    return folder, request.param


@pytest.fixture
def sounds(tmp_path, write_sound):
    """Sounds of half a second, one second and three."""
    random = np.random.default_rng(0)
    return [
        write_sound(tmp_path / f"{n}.wav", random.uniform(-1, 1, round(n * RATE)) * np.hanning(round(n * RATE)), RATE)
        for n in (0.5, 1, 3)
    ]


def clap_encoder(folder, **options):
    return load_encoder(**{"name": "clap", "kind": "clap", "model": str(folder), "device": "cpu", **options})


def test_rows_agree_with_transformers_own(clap, sounds):
    folder, _ = clap
    model, extractor = ClapModel.from_pretrained(folder).eval(), ClapFeatureExtractor.from_pretrained(folder)
    encoder = clap_encoder(folder, crop="start")
    waveforms = [read_sound(path, RATE, 1, "start") for path in sounds]
    inputs = extractor(waveforms, sampling_rate=RATE, return_tensors="pt")  # pads by its own rule
    longer = torch.zeros(3, 1, dtype=torch.bool)  # where none is longer, the extractor says so of one at random
    with torch.inference_mode():
        expected = model.get_audio_features(input_features=inputs["input_features"].float(), is_longer=longer)
    expected = F.normalize(getattr(expected, "pooler_output", expected), dim=-1)
    assert torch.allclose(encoder.encode_images(sounds), expected, atol=1e-5)
    assert (expected[0] - expected[1]).abs().max() > 1e-3


def test_sentences_agree_with_transformers_own(clap):
    folder, _ = clap
    encoder, model = clap_encoder(folder), ClapModel.from_pretrained(folder).eval()
    rows = encoder.encode_texts(SENTENCES)
    for row, sentence in zip(rows, SENTENCES, strict=True):
        with torch.inference_mode():
            alone = model.get_text_features(**encoder.tokenizer(sentence, return_tensors="pt"))
        assert torch.allclose(row, F.normalize(getattr(alone, "pooler_output", alone)[0], dim=0), atol=1e-5)
    long = " ".join(["bell"] * 40)
    assert encoder.cut_texts([*SENTENCES, long]) == 1 and encoder.encode_texts([long]).isfinite().all()


def test_a_fused_model_sees_all_of_a_long_sound_the_same_way_each_time(tmp_path, sounds):
    save_clap(tmp_path / "clap", fused=True)
    encoder, short = clap_encoder(tmp_path / "clap", seconds=3), clap_encoder(tmp_path / "clap", crop="start")
    rows = encoder.encode_images(sounds)
    np.random.seed(7)
    before = np.random.get_state()[1][:3].tolist()
    assert torch.equal(encoder.encode_images(sounds), rows) and np.random.get_state()[1][:3].tolist() == before
    assert torch.allclose(rows[:2], short.encode_images(sounds)[:2], atol=1e-5)
    views = encoder.load(sounds[2])
    assert views.shape == (4, 51, 64) and not torch.equal(views[0], views[1])
    inputs = {"input_features": views[None], "is_longer": torch.ones(1, 1, dtype=torch.bool)}
    expected = encoder.model.get_audio_features(**inputs)
    expected = F.normalize(getattr(expected, "pooler_output", expected), dim=-1)
    assert torch.allclose(rows[2:], expected, atol=1e-5)
    assert (rows[2] - short.encode_images(sounds)[2]).abs().max() > 1e-3


def test_options_stand_in_the_description_and_make_the_encoder_again(clap, sounds):
    folder, _ = clap
    encoder = clap_encoder(folder)
    description = json.loads(json.dumps(encoder.description))
    assert {**description, "sha256": None} == {
        "name": "clap", "kind": "clap", "model": str(folder), "precision": "fp32", "seconds": 1.0, "crop": "middle",
        "short": "repeat_pad", "sha256": None,
    }  # fmt: skip
    assert encoder.medium == "sound" and encoder.dims == {"images": 12, "texts": 12}
    again = reload_encoder(description, device="cpu", precision="fp32")
    assert torch.equal(again.encode_images(sounds), encoder.encode_images(sounds))
    assert not is_same_encoder(description, clap_encoder(folder, crop="start").description)
    assert not is_same_encoder(description, clap_encoder(folder, short="pad").description)
    assert len(pickle.dumps(encoder.load)) < 500_000


def test_what_cannot_be_had_is_refused(clap, tmp_path):
    folder, fused = clap
    with pytest.raises(ValueError, match=r"encoder\.crop='end' must be"):
        clap_encoder(folder, crop="end")
    with pytest.raises(ValueError, match=r"encoder\.model=.*nothing cannot be loaded as a CLAP model"):
        clap_encoder(tmp_path / "nothing")
    with pytest.raises(ValueError, match="The weights of the encoder clap are not those that were used"):
        clap_encoder(folder, sha256="0" * 64)
    if not fused:
        with pytest.raises(ValueError, match=r"encoder\.seconds=3 is more than the 1 that .* is no fused model"):
            clap_encoder(folder, seconds=3)
