"""scripts/generate_images.py: by our generators side by side, and by a tiny unCLIP pipeline in Karlo's format."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from alignment.chain import Alignment
from embedding_space.store import EmbeddingStore
from evaluation.pictures.generated import read_generated
from image_captioning.alignments import STEPS
from image_generation import sources
from image_generation.candidates import BestOf
from image_generation.generate import generate
from image_generation.training_run import train
from image_generation.unclip import ImageDecoder, as_image_embeddings, pipeline_class
from modality_translation.training_run import train as train_translation
from scripts.generate_images import take_sentences


def test_without_diffusers_or_weights_the_message_says_what_to_do(monkeypatch, tmp_path):
    with monkeypatch.context() as patched:
        patched.setitem(__import__("sys").modules, "diffusers", None)
        with pytest.raises(ImportError, match=r"needs diffusers.*\.\[generation\]"):
            ImageDecoder("anything")
    pytest.importorskip("diffusers")
    with pytest.raises(FileNotFoundError, match=r"no unCLIP pipeline.*hf download kakaobrain/karlo"):
        ImageDecoder(str(tmp_path))


@pytest.fixture
def tiny_pipeline(tmp_path):
    """A folder with a whole unCLIP pipeline of random weights that reads embeddings of 16 dimensions."""
    diffusers = pytest.importorskip("diffusers")
    from transformers import (
        CLIPImageProcessor,
        CLIPTextConfig,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )  # fmt: skip

    kind = pipeline_class()
    torch.manual_seed(0)
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "b</w>": 3}
    (tmp_path / "vocab.json").write_text(json.dumps(words))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"), model_max_length=7)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = CLIPTextConfig(
        **small, projection_dim=16, vocab_size=4, max_position_embeddings=7, eos_token_id=1, bos_token_id=0,
        pad_token_id=1,
    )  # fmt: skip
    vision = CLIPVisionConfig(**small, projection_dim=16, image_size=16, patch_size=8)
    decoder = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=3, out_channels=6, layers_per_block=1, block_out_channels=(8, 16),
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn", cross_attention_dim=16, attention_head_dim=4,
        class_embed_type="identity", resnet_time_scale_shift="scale_shift", norm_num_groups=4,
    )  # fmt: skip
    larger = {
        "sample_size": 16, "in_channels": 6, "out_channels": 3, "layers_per_block": 1, "block_out_channels": (8, 8),
        "down_block_types": ("ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D"),
        "up_block_types": ("ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"), "norm_num_groups": 4,
        "resnet_time_scale_shift": "scale_shift",
    }  # fmt: skip
    schedule = {"num_train_timesteps": 1000, "prediction_type": "epsilon"}
    pipeline = kind(
        decoder=decoder,
        text_encoder=CLIPTextModelWithProjection(text),
        tokenizer=tokenizer,
        text_proj=diffusers.pipelines.unclip.UnCLIPTextProjModel(
            clip_embeddings_dim=16, time_embed_dim=32, cross_attention_dim=16
        ),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16),
        image_encoder=CLIPVisionModelWithProjection(vision),
        super_res_first=diffusers.UNet2DModel(**larger),
        super_res_last=diffusers.UNet2DModel(**larger),
        decoder_scheduler=diffusers.UnCLIPScheduler(variance_type="learned_range", **schedule),
        super_res_scheduler=diffusers.UnCLIPScheduler(variance_type="fixed_small_log", **schedule),
    )
    pipeline.save_pretrained(tmp_path / "karlo")
    index = json.loads((tmp_path / "karlo" / "model_index.json").read_text())
    assert index["text_proj"] == ["unclip", "UnCLIPTextProjModel"]  # as in Karlo's own files
    return tmp_path / "karlo"


@pytest.fixture
def drawing_config(picture_store, compose, word_encoder, tmp_path, monkeypatch):
    """Compose the command's config; the store's encoder of words stands in for a CLIP."""

    class PictureEncoder(word_encoder):
        preprocess = staticmethod(lambda picture: torch.tensor(np.asarray(picture).mean()))  # pyright: ignore

        def image_features(self, pictures):
            return self.encode_texts(["a dog" if each > 128 else "a cat" for each in pictures])

        def unknown_words(self, text):
            return [word for word in text.split() if word == "zebra"]

    monkeypatch.setattr(sources, "reload_encoder", lambda description, **options: PictureEncoder(16))

    def config(*overrides: str):
        paths = (f"output_dir={tmp_path / 'pictures'}", f"store={picture_store.path}")
        return compose("generate_images", *paths, "sampling.steps=2", *overrides)

    return config


def test_generators_and_guidance_scales_side_by_side(drawing_config, training_config, tmp_path, capsys):
    for method in ("c1", "c3"):
        train(training_config(method, f"alignment={method}", "loop.steps=1", "samples=0"))
    runs = f"checkpoint=[{tmp_path / 'c1'},{tmp_path / 'c3'}]"
    sentences = ["a dog on a lake", "a zebra né"]
    drawn = generate(drawing_config(runs, "guidance_scales=[1,3]", "pictures=2", "seed=5"), sentences)
    folder = tmp_path / "pictures"
    index = json.loads((folder / "images.json").read_text())
    assert len(drawn) == 2 * 2 * 2 * 2 == len(index["images"]) and index["uses_pairs"] is False
    assert {(row["generator"], row["guidance"]) for row in index["images"]} == {
        ("c1", 1), ("c1", 3), ("c3", 1), ("c3", 3),
    }  # fmt: skip
    assert [row["seed"] for row in index["images"][:4]] == [5, 6, 5, 6]
    assert [encoder["name"] for encoder in read_generated(folder).encoders] == ["words", "words"]
    assert {row["known_words"] for row in index["images"] if "zebra" in row["sentence"]} == {False}
    assert "does not know 'zebra'" in capsys.readouterr().err
    with Image.open(folder / drawn[2].file) as picture:
        assert picture.size == (16, 16)
        assert picture.text == {"sentence": "a zebra né", "generator": "c1", "seed": "5", "guidance": "1"}
    with Image.open(folder / "grid.png") as grid:
        assert grid.width == 4 * (192 + 6) - 6
    whole = [(folder / each.file).read_bytes() for each in drawn]
    generate(drawing_config(runs, "guidance_scales=[1,3]", "pictures=2", "seed=5", "sampling.batch_size=3"), sentences)
    assert len(whole) == 16 and (folder / drawn[0].file).exists()


@pytest.mark.parametrize(
    ("sentences", "message"),
    [([], "Give at least one sentence"), (["a dog", "  "], "Sentence 2 of 2 is empty")],
)
def test_nothing_to_draw_is_refused(drawing_config, sentences, message):
    with pytest.raises(ValueError, match=message):
        generate(drawing_config(), sentences)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("pictures=0", "pictures=0 leaves nothing to draw"),
        ("guidance_scales=[]", r"guidance_scales=\[\] leaves nothing to draw"),
        ("checkpoint=[]", r"checkpoint=\[\] leaves nothing to draw with"),
    ],
)
def test_empty_lists_are_refused(drawing_config, option, message):
    with pytest.raises(ValueError, match=message):
        generate(drawing_config(option), ["a dog"])


def test_files_of_others_are_not_replaced(drawing_config, training_config, tmp_path):
    train(training_config("c1", "alignment=c1", "loop.steps=1", "samples=0"))
    config = drawing_config(f"checkpoint={tmp_path / 'c1'}")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/000.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"holds 000\.png, which this command did not write: .*output_dir"):
        generate(config, ["a dog"])
    (tmp_path / "pictures/000.png").unlink()
    assert generate(config, ["a dog"]) == generate(config, ["a dog"])
    for name in ("images.json", "config.yaml", "grid.png"):  # it was interrupted after its pictures
        (tmp_path / "pictures" / name).unlink()
    assert generate(config, ["a dog"]) == generate(config, ["a dog"])


def test_half_a_character_is_replaced(drawing_config, training_config, tmp_path):
    train(training_config("c1", "alignment=c1", "loop.steps=1", "samples=0"))
    (drawn,) = generate(drawing_config(f"checkpoint={tmp_path / 'c1'}"), ["a dog \ud83d"])
    assert drawn.sentence == "a dog \ufffd"


def test_a_missing_generator_says_how_to_train_one(drawing_config, tmp_path):
    with pytest.raises(FileNotFoundError, match="image generator"):
        generate(drawing_config(f"checkpoint={tmp_path / 'nothing'}"), ["a dog"])
    with pytest.raises(ValueError, match="translation=x needs generator=karlo"):
        generate(drawing_config("translation=x"), ["a dog"])
    with pytest.raises(ValueError, match="alignment=c1 needs generator=karlo"):
        generate(drawing_config("alignment=c1"), ["a dog"])


KARLO = (
    "generator=karlo", "generator.length_pictures=2", "generator.batch_size=2", "generator.decoder_steps=2",
    "generator.super_resolution_steps=2", "dataset.image_mean_split=pretrain",
)  # fmt: skip


def test_unclip_draws_translated_sentences(drawing_config, picture_store, compose, tmp_path, tiny_pipeline, capsys):
    store = f"image_store={picture_store.path}", f"text_store={picture_store.path}"
    train_translation(
        compose("modality_translation", "translator@model=mlp", *store, f"output_dir={tmp_path / 'run'}",
                "dataset.pairs_split=pretrain", "loop.steps=1", "loop.batch_size=16")
    )  # fmt: skip
    root = picture_store.path.parent
    options = (*KARLO, f"generator.weights={tiny_pipeline}", f"dataset.root={root}")
    sentences = ["a dog on a beach", "a cat", "one bird"]
    drawn = generate(drawing_config(*options, f"translation={tmp_path / 'run'}"), sentences)
    index = json.loads((tmp_path / "pictures/images.json").read_text())
    assert index["uses_pairs"] is True and index["generators"]["karlo_translation"]["embedding_length"] > 0
    first = [np.asarray(Image.open(tmp_path / "pictures" / each.file), int) for each in drawn]
    assert first[0].shape == (16, 16, 3) and all(-1 <= each.cosine <= 1 for each in drawn)
    length = index["generators"]["karlo_translation"]["embedding_length"]
    more = ("generator.batch_size=3", f"generator.embedding_length={length}")
    generate(drawing_config(*options, *more, f"translation={tmp_path / 'run'}"), sentences)
    with pytest.raises(ValueError, match=r"alignment=c3 and translation=.*: give one of them"):
        generate(drawing_config(*options, "alignment=c3", f"translation={tmp_path / 'run'}"), sentences)
    again = [np.asarray(Image.open(tmp_path / "pictures" / each.file), int) for each in drawn]
    assert all(abs(a - b).max() <= 2 for a, b in zip(first, again, strict=True))  # by seed, whatever the batches
    assert not np.array_equal(first[0], first[1])


def test_unclip_draws_aligned_sentences_without_pairs(drawing_config, picture_store, tmp_path, tiny_pipeline):
    options = (*KARLO, f"generator.weights={tiny_pipeline}", f"dataset.root={picture_store.path.parent}")
    (drawn,) = generate(drawing_config(*options, "alignment=c2_collapse"), ["a dog on a beach"])
    index = json.loads((tmp_path / "pictures/images.json").read_text())
    assert index["uses_pairs"] is False and drawn.generator == "karlo_c2_collapse"
    (best,) = generate(drawing_config(*options, "alignment=c2_collapse", "candidates=3"), ["a dog on a beach"])
    assert best.cosine >= drawn.cosine - 1e-3 and best.noise_seed in BestOf(3).seeds(0)  # by the decoder's own CLIP
    with pytest.raises(ValueError, match="give alignment=c3 or translation="):
        generate(drawing_config(*options), ["a dog"])
    with pytest.raises(ValueError, match="reads image embeddings of 16 dimensions, and these have 9"):
        ImageDecoder(str(tiny_pipeline)).generate(torch.ones(1, 9), 1.0, [0])


def test_centered_rows_come_back_among_the_images(picture_store):
    store = EmbeddingStore(picture_store.path, training_modality="images")
    images = F.normalize(store.images("pretrain"), dim=-1)
    entries = [{"step": step} for step in ("Normalize", "Center", "Normalize")]
    chain = Alignment.from_store(entries, STEPS, store)
    back = as_image_embeddings(chain.clean_side(images), chain, images)
    assert F.cosine_similarity(back, images).mean() > 0.98
    plain = Alignment.from_store(entries[:1], STEPS, store)
    assert torch.equal(as_image_embeddings(images, plain, images), images)


def test_sentences_and_options_are_told_apart():
    arguments = ["a dog, 2 = two", "seed=1", "++sampling.steps=2", "cats"]
    assert take_sentences(arguments) == (["a dog, 2 = two", "cats"], ["seed=1", "++sampling.steps=2"])
