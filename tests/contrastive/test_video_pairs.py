"""Training a small CLIP of videos: it learns the order of frames, which their mean does not have."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contrastive.from_scratch import frame_side
from contrastive.training_run import train
from demo_world.motion.video import write_video
from embedding_space.encoders.load import load_encoder
from embedding_space.tables import read_tables, write_tables

SMALL = ["model.shift_pixels=0", "loop.evaluate_every=null"]
WAYS = {"the red comes first": (200, 20), "the red comes last": (20, 200)}


@pytest.fixture
def ordered(tmp_path):
    """Videos that turn from red to blue or from blue to red, with captions: a folder of tables."""
    root, images, captions = tmp_path / "ordered", [], []
    (root / "videos").mkdir(parents=True)
    random = np.random.default_rng(0)
    for split in ("pretrain", "val"):
        for caption, (first, last) in WAYS.items():
            for _ in range(6):
                number = len(images)
                frames = np.zeros((8, 32, 32, 3), np.uint8)
                for half, red in ((frames[:4], first), (frames[4:], last)):
                    half[...] = (red, 60, 220 - red)
                frames += random.integers(20, size=frames.shape, dtype=np.uint8)
                write_video(frames, root / f"videos/{number}.mp4")
                images.append({"image_id": str(number), "path": f"videos/{number}.mp4", "split": split})
                captions.append({"caption_id": str(number), "image_row": number, "caption": caption, "split": split})
    write_tables(root, images, captions)
    return root


@pytest.mark.parametrize(("pooling", "frames", "size"), [("grid", 4, [32, 32]), ("flow", 4, [16, 32])])
def test_a_trained_folder_knows_the_order_of_frames(ordered, compose, tiny, tmp_path, pooling, frames, size):
    train(compose(
        "contrastive", "model=video_clip", "dataset=tables", "dataset.name=ordered", f"dataset.root={ordered}",
        "dataset.pairs_split=pretrain", f"output_dir={tmp_path / 'clip'}", *tiny, *SMALL, "loop.steps=120",
        "loop.learning_rate=1e-3", "model.init_logit_scale=2.0", f"model.pooling={pooling}", f"model.frames={frames}",
        f"model.vision_cfg.image_size={size}", f"model.preprocess.size={size}",
    ))  # fmt: skip
    tables = read_tables(ordered)
    paths = tables.image_paths(tables.image_rows("val"))
    of = {"model": f"local-dir:{tmp_path / 'clip'}"}
    encoder = load_encoder("v", kind="video", frames=frames, pooling=pooling, side=16, of=of, device="cpu")
    rows, texts = encoder.encode_images(paths), encoder.encode_texts(list(WAYS))
    right = (rows @ texts.T).argmax(dim=1) == torch.arange(2).repeat_interleave(6)
    assert right.all()


def test_frames_that_do_not_fill_their_picture_are_refused():
    assert frame_side("grid", 128, 4) == frame_side("flow", [64, 128], 8) == 64
    assert frame_side("grid", [96, 96], 9) == 32 and frame_side("grid", 32, 1) == 32
    for size, frames in ((128, 5), (128, 8), (100, 9), ([64, 128], 4)):
        with pytest.raises(ValueError, match=f"frames={frames} fill no square grid"):
            frame_side("grid", size, frames)
    for size, frames in ((128, 3), ([64, 64], 3), ([64, 128], 1)):
        with pytest.raises(ValueError, match=rf"of model.frames={frames}"):
            frame_side("flow", size, frames)
    with pytest.raises(ValueError, match="'rows' must be one of grid, flow"):
        frame_side("rows", 128, 4)
