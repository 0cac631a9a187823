"""Mirrored twins: pictures turned left to right beside captions that say the other side."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from contrastive.checkpoint import save_open_clip
from contrastive.mirror import MirroredPairs, exchange_words, twin_places
from contrastive.picture_pairs import ReadPicture, ReadVideo
from contrastive.task import ContrastiveTask, measure
from contrastive.training_run import train
from contrastive.word_tokenizer import train_word_tokenizer
from demo_world.motion.video import write_video
from embedding_space.tables import read_tables, write_tables
from training.batches import StepRandom

SMALL = [
    "model.vision_cfg.image_size=32",
    "model.preprocess.size=[32, 32]",
    "model.shift_pixels=0",
    "model.init_logit_scale=2.0",
    "loop.evaluate_every=null",
]


@pytest.fixture
def sided(tmp_path):
    """Pictures with a bright half, whose captions say on which side, and gray ones that have no side."""
    root, images, captions = tmp_path / "sided", [], []
    (root / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    for split in ("pretrain", "val"):
        for caption in ("bright to the left", "bright to the right", "all gray", "it is dim"):
            for _ in range(6):
                number = len(images)
                pixels = np.full((32, 32, 3), 90 if "gray" in caption else 30, np.uint8)
                if "bright" in caption:
                    pixels[:, :16] = 220 if caption.endswith("left") else 30
                    pixels[:, 16:] = 220 if caption.endswith("right") else 30
                pixels += random.integers(20, size=pixels.shape, dtype=np.uint8)
                Image.fromarray(pixels).save(root / f"images/{number}.png")
                images.append({"image_id": str(number), "path": f"images/{number}.png", "split": split})
                captions.append({"caption_id": str(number), "image_row": number, "caption": caption, "split": split})
    write_tables(root, images, captions)
    return root


def mirrored_pairs(root, words=("left", "right")):
    tables = read_tables(root)
    tokenizer = train_word_tokenizer(tables.captions["caption"].to_pylist(), 50)
    return MirroredPairs(
        list(words), tables=tables, split="pretrain", device=torch.device("cpu"), tokenizer=tokenizer,
        context_length=8, read=ReadPicture(32), mean=[0.5] * 3, std=[0.25] * 3, shift_pixels=0,
    )  # fmt: skip


def test_each_frame_of_a_picture_is_turned_for_itself():
    two_frames = torch.tensor([1, 2, 3, 4, 5, 6], dtype=torch.uint8).view(1, 1, 1, 6)
    grid = ReadVideo(frames=4, side=3, pooling="grid")
    assert grid.mirror(two_frames).flatten().tolist() == [3, 2, 1, 6, 5, 4]
    assert ReadPicture(6).mirror(two_frames).flatten().tolist() == [6, 5, 4, 3, 2, 1]
    assert grid.mirror(grid.mirror(two_frames)).equal(two_frames)


def test_a_turned_picture_of_flow_is_that_of_the_turned_video(tmp_path):
    pixels = np.full((8, 32, 32, 3), 60, np.uint8)
    for number, frame in enumerate(pixels):
        frame[10 : 16 + number, 4 + 2 * number : 10 + 2 * number] = 200
    read = ReadVideo(frames=8, side=32, pooling="flow")
    write_video(pixels, tmp_path / "a.mp4")
    write_video(np.ascontiguousarray(pixels[:, :, ::-1]), tmp_path / "b.mp4")
    there, turned = (torch.from_numpy(read(tmp_path / name)) for name in ("a.mp4", "b.mp4"))
    mirrored = read.mirror(there[None])[0]
    assert (mirrored.int() - turned.int()).abs().float().mean() < 1  # the codec loses a little
    flow = turned[0, :, 32:].float() - 128
    assert flow.mean() < -1 and (mirrored[0, :, 32:].float() - 128).mean() < -1  # both to the left


def test_words_change_places_where_they_are_whole_words():
    captions = ["a dog runs from left to right", "Left alone, it is leftover", "a bright day"]
    assert exchange_words(captions, ["left", "right"]) == [
        "a dog runs from right to left", "right alone, it is leftover", "a bright day",
    ]  # fmt: skip
    for words in (["left"], ["left", "Left"], ["left", "to the right"], []):
        with pytest.raises(ValueError, match=r"model.mirror_words=.* must be two different words"):
            exchange_words(captions, words)


def test_twins_take_the_places_of_pairs_without_a_direction():
    rows, places = twin_places(torch.tensor([True, False, True, False, False]))
    assert rows.tolist() == [0, 2] and places.tolist() == [1, 3]
    rows, places = twin_places(torch.tensor([True, True, True, False]))  # more than half: only some get a twin
    assert rows.tolist() == [0] and places.tolist() == [3]
    assert all(len(part) == 0 for part in twin_places(torch.tensor([True, True])))


def test_a_batch_holds_directed_pairs_beside_their_mirror_images(sided):
    pairs = mirrored_pairs(sided)
    chosen = torch.arange(24)
    pixels, tokens = pairs.draw(chosen, StepRandom(0, 0, 24, slice(None)))
    bright_left = 64 * pixels[..., :16].mean((1, 2, 3)) - 64 * pixels[..., 16:].mean((1, 2, 3))
    says_left = (tokens == pairs.tokens[0]).all(dim=1)
    says_right = (tokens == pairs.exchanged[0]).all(dim=1)
    assert says_left.sum() == says_right.sum() == 12  # the twelve pairs without a direction gave their places
    assert (bright_left[says_left] > 100).all() and (bright_left[says_right] < -100).all()


def test_a_step_draws_the_same_batch_again(sided):
    pairs = mirrored_pairs(sided)
    whole = pairs.draw(torch.arange(12), StepRandom(0, 3, 12, slice(None)))
    again = pairs.draw(torch.arange(12), StepRandom(0, 3, 12, slice(None)))
    assert all(one.equal(other) for one, other in zip(whole, again, strict=True))


def test_words_that_no_caption_has_are_refused_in_training_alone(sided, compose, tiny, tmp_path):
    assert mirrored_pairs(sided, ("up", "down")).measures(None, torch.zeros(0), torch.zeros(0)) == {}
    with pytest.raises(ValueError, match=r"mirror_words=\['up', 'down'\]: no caption of 'pretrain' has one of them"):
        train(compose(
            "contrastive", "model=clip", "dataset=tables", "dataset.name=sided", f"dataset.root={sided}",
            "dataset.pairs_split=pretrain", f"output_dir={tmp_path / 'clip'}", *tiny, *SMALL, "loop.steps=2",
            "model.mirror_words=[up,down]",
        ))  # fmt: skip


def test_a_trained_clip_tells_left_from_right(sided, compose, tiny, tmp_path):
    metrics = train(compose(
        "contrastive", "model=clip", "dataset=tables", "dataset.name=sided", f"dataset.root={sided}",
        "dataset.pairs_split=pretrain", f"output_dir={tmp_path / 'clip'}", *tiny, *SMALL, "loop.steps=200",
        "model.mirror_words=[left,right]", "loop.learning_rate=1e-3",
    ))  # fmt: skip
    assert metrics["direction_accuracy"] == 1


def test_the_metrics_that_may_choose_the_weights_are_measured(sided):
    pairs = mirrored_pairs(sided)
    task = ContrastiveTask(pairs, pairs, 8, 0, save_open_clip, (0, 1))
    rows = torch.eye(len(pairs)), torch.eye(len(pairs))[pairs.owner]
    pairs.encode = lambda model: rows
    pairs.measures = lambda *inputs: dict.fromkeys(pairs.measured, 1.0)
    counts = {"image_to_text_queries", "text_to_image_queries"}
    assert set(measure(None, pairs)) - counts == set(task.better) > {"direction_accuracy"}
