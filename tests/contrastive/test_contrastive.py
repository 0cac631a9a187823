"""Contrastive training: the loss against a slow version, augmentation, and a folder that open_clip loads."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from contrastive.checkpoint import save_open_clip
from contrastive.picture_pairs import PicturePairs, ReadPicture, shift
from contrastive.task import ContrastiveTask
from contrastive.training_run import train
from contrastive.word_tokenizer import train_word_tokenizer
from embedding_space.encoders.load import load_encoder
from embedding_space.tables import read_tables, write_tables
from training.batches import StepRandom

COLOURS = {"red": (230, 30, 30), "green": (30, 200, 40), "blue": (30, 60, 230), "white": (240, 240, 240)}
SMALL = ["model.vision_cfg.image_size=32", "model.preprocess.size=[32, 32]", "model.shift_pixels=1"]


@pytest.fixture
def coloured(tmp_path):
    """Pictures of one colour above another, captions naming both: a folder of tables, splits pretrain and val."""
    root = tmp_path / "coloured"
    (root / "images").mkdir(parents=True)
    images, captions = [], []
    pairs = [(a, b) for a in COLOURS for b in COLOURS]
    for split in ("pretrain", "val"):
        for number, (top, bottom) in enumerate(pairs):
            pixels = np.zeros((32, 32, 3), np.uint8)
            pixels[:16], pixels[16:] = COLOURS[top], COLOURS[bottom]
            path = f"images/{split}_{number}.png"
            Image.fromarray(pixels).save(root / path)
            row = len(images)
            images.append({"image_id": f"{split}_{number}", "path": path, "split": split})
            for form, text in enumerate((f"{top} over {bottom}", f"{bottom} under {top}")):
                captions.append(
                    {"caption_id": f"{split}_{number}_{form}", "image_row": row, "caption": text, "split": split}
                )
    write_tables(root, images, captions)
    return root


@pytest.fixture
def pairs(coloured):
    tables = read_tables(coloured)
    tokenizer = train_word_tokenizer(tables.captions["caption"].to_pylist(), 50)
    return PicturePairs(tables, "pretrain", *shape(tokenizer)), tokenizer, tables


def shape(tokenizer):
    return torch.device("cpu"), tokenizer, 8, ReadPicture(32), [0.5] * 3, [0.25] * 3, 1


def test_captions_that_are_cut_are_counted_and_told(pairs, caplog):
    _, tokenizer, tables = pairs
    assert not caplog.records
    device, tokenizer, _, *rest = shape(tokenizer)
    PicturePairs(tables, "pretrain", device, tokenizer, 4, *rest)  # <start> red over green <end>
    assert "32 of 32 captions of pretrain are longer than model.text_cfg.context_length=4 tokens" in caplog.text


def test_pairs_keep_captions_with_their_pictures(pairs):
    data, tokenizer, tables = pairs
    captions = tables.captions.to_pylist()[: len(data.tokens)]
    for row, tokens in enumerate(data.tokens):
        assert tokenizer.decode(tokens, skip_special_tokens=True) == captions[row]["caption"]
        assert data.owner[row] == captions[row]["image_row"]
        assert data.first[data.owner[row]] <= row < data.first[data.owner[row] + 1]


def test_tokens_begin_and_end_where_open_clip_pools(pairs):
    data, tokenizer, _ = pairs
    assert (data.tokens[:, 0] == tokenizer.bos_token_id).all()
    assert ((data.tokens == tokenizer.eos_token_id).sum(1) == 1).all()
    assert tokenizer.pad_token_id == 0


def test_shift_moves_each_picture_by_its_own_pixels_and_repeats_the_border():
    pictures = torch.arange(2 * 3 * 5 * 5).view(2, 3, 5, 5)
    moved = shift(pictures, torch.tensor([1, 0]), torch.tensor([0, -2]))
    assert torch.equal(moved[0, :, :, 1:], pictures[0, :, :, :-1]) and torch.equal(
        moved[0, :, :, 0], pictures[0, :, :, 0]
    )
    assert torch.equal(moved[1, :, :3], pictures[1, :, 2:]) and torch.equal(moved[1, :, 4], pictures[1, :, 4])


class FixedTowers(torch.nn.Module):
    """Features that are fixed functions of the inputs, so that the loss can be worked out slowly beside it."""

    def __init__(self):
        super().__init__()
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, pictures, tokens):
        images = F.normalize(pictures.mean((2, 3)) + 0.1, dim=-1)
        return images, F.normalize(tokens[:, 1:4].float(), dim=-1), self.logit_scale.exp()


def test_the_loss_is_the_symmetric_cross_entropy_over_all_pairs(pairs):
    data, *_ = pairs
    seen = []

    class Recording(FixedTowers):
        def forward(self, pictures, tokens):
            features = super().forward(pictures, tokens)
            seen.append([feature.detach() for feature in features])
            return features

    task = ContrastiveTask(data, data, 8, 0, save_open_clip, (0, 1))
    loss = task.loss(Recording(), StepRandom(0, 3, 8, slice(0, 8)))["loss"]
    images, texts, scale = seen[0]
    slow = 0.0
    for n in range(8):
        row = [float(scale * (images[n] @ texts[m])) for m in range(8)]
        column = [float(scale * (images[m] @ texts[n])) for m in range(8)]
        for logits in (row, column):
            slow += (np.log(np.sum(np.exp(logits))) - logits[n]) / 16
    assert loss.item() == pytest.approx(slow, rel=1e-5)


def test_training_learns_and_open_clip_loads_what_it_saved(coloured, compose, tiny, tmp_path):
    config = compose(
        "contrastive",
        "name=tiny",
        f"dataset.root={coloured}",
        f"output_dir={tmp_path / 'clip'}",
        "loop.steps=150",
        *tiny,
        *SMALL,
        "loop.learning_rate=3e-3",
        "loop.evaluate_every=null",
    )
    figures = train(config)
    assert figures["image_to_text_recall_at_1"] > 0.5
    encoder = load_encoder("tiny", model=f"local-dir:{tmp_path / 'clip'}", batch_size=5)
    tables = read_tables(coloured)
    rows = tables.image_rows("val")
    images = encoder.encode_images(tables.image_paths(rows))
    captions = [f"{top} over {bottom}" for top in COLOURS for bottom in COLOURS]
    texts = encoder.encode_texts(captions)
    assert images.shape == (16, 16) and torch.allclose(images.norm(dim=-1), torch.ones(16), atol=1e-5)
    assert ((images @ texts.T).argmax(1) == torch.arange(16)).float().mean() > 0.4
    assert train(config)["steps"] == 150  # re-used, not trained again


def test_the_shipped_folder_and_its_manifest_belong_together():
    import hashlib
    from pathlib import Path

    folder = Path(__file__).resolve().parents[2] / "pretrained" / "demo_clip"
    manifest = json.loads((folder / "manifest.json").read_text())
    weights = folder / "open_clip_model.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == manifest["sha256"]
    assert weights.stat().st_size <= 8_000_000
    assert manifest["metrics"]["image_to_text_recall_at_1"] >= 0.75
    assert manifest["metrics"]["centroid_distance"] >= 0.5


def test_the_shipped_clip_tells_scenes_apart_and_gives_patch_tokens():
    from demo_world.render import render
    from demo_world.world import scene_and_captions

    encoder = load_encoder("demo_clip", model="local-dir:pretrained/demo_clip")
    scenes = [scene_and_captions(0, "test", index) for index in range(40)]
    pixels = [Image.fromarray(render(scene, 96)) for scene, _ in scenes]
    pictures = torch.stack([encoder.preprocess(picture) for picture in pixels])
    with torch.no_grad():
        images = F.normalize(encoder.model.encode_image(pictures), dim=-1)
        patches = encoder.model.visual.forward_intermediates(pictures[:2], indices=1)["image_intermediates"][-1]
    texts = encoder.encode_texts([captions[0] for _, captions in scenes])
    assert ((images @ texts.T).argmax(1) == torch.arange(40)).float().mean() > 0.8
    assert patches.shape[0] == 2 and patches.ndim == 4


def test_a_batch_of_more_pictures_than_there_are_is_refused(pairs):
    data, *_ = pairs
    with pytest.raises(ValueError, match=r"loop\.batch_size=17 is more than the 16 pictures"):
        ContrastiveTask(data, data, 17, 0, save_open_clip, (0, 1))


def test_micro_batches_are_refused_and_images_need_captions(coloured, compose, tiny, tmp_path):
    config = compose("contrastive", f"dataset.root={coloured}", f"output_dir={tmp_path}", *tiny, *SMALL)
    config.loop.gradient_accumulation = 2
    with pytest.raises(ValueError, match="compares all pairs"):
        train(config)
    tables = read_tables(coloured)
    captions = [row for row in tables.captions.to_pylist() if row["image_row"] != 3]
    write_tables(coloured, tables.images.to_pylist(), captions)
    tokenizer = train_word_tokenizer(["red"], 10)
    with pytest.raises(ValueError, match="'pretrain_3' of split 'pretrain'"):
        PicturePairs(read_tables(coloured), "pretrain", *shape(tokenizer))


def test_pictures_of_other_sizes_are_resized_and_cropped(tmp_path):
    Image.new("RGB", (100, 60), (10, 20, 30)).save(tmp_path / "wide.png")
    picture = torch.from_numpy(ReadPicture(32)(tmp_path / "wide.png"))
    assert picture.shape == (3, 32, 32) and (picture[:, 5, 5] == torch.tensor([10, 20, 30])).all()
