"""Videos by an encoder of pictures: parity with its rows of the frames, and what tells two such encoders apart."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter

from demo_world.motion.video import write_video as write_demo_video
from embedding_space.encoders.identity import is_same_encoder
from embedding_space.encoders.load import load_encoder, reload_encoder
from embedding_space.tables import write_tables
from embedding_space.videos import flow_picture, frame_grid, read_frames
from embedding_space.write_store import write_store

pytestmark = pytest.mark.usefixtures("tiny_models")
OF = {"name": "tiny", "model": "tiny", "pretrained": "random"}


def video_encoder(**options):
    return load_encoder(**{"name": "videos", "kind": "video", "of": OF, "device": "cpu", **options})


def test_a_row_is_the_mean_of_the_frames_unit_rows(tmp_path, write_video):
    paths = [write_video(tmp_path / "a.mp4"), write_video(tmp_path / "b.mkv", 3), write_video(tmp_path / "c.mp4", 1)]
    encoder, pictures = video_encoder(batch_size=2, frames=4), load_encoder(**OF, device="cpu")
    expected = []
    for path in paths:
        frames = torch.stack([pictures.preprocess(frame) for frame in read_frames(path, 4)])
        rows = torch.stack([F.normalize(pictures.image_features(frame[None])[0], dim=0) for frame in frames])
        expected.append(F.normalize(rows.mean(dim=0), dim=0))
    assert torch.allclose(encoder.encode_images(paths), torch.stack(expected), atol=1e-5)
    assert torch.allclose(encoder.encode_texts(["a dog", "two dogs"]), pictures.encode_texts(["a dog", "two dogs"]))
    assert encoder.medium == "video" and encoder.dims == pictures.dims and encoder.joint


def test_a_grid_is_one_picture_of_the_frames_and_knows_their_order(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4", 4)
    encoder, pictures = video_encoder(frames=3, pooling="grid", side=20), load_encoder(**OF, device="cpu")
    grid = frame_grid(path, 3, 20)
    assert grid.size == (40, 40) and grid.getpixel((30, 30)) == (0, 0, 0)
    frames = [ImageOps.fit(frame, (20, 20), Image.Resampling.BICUBIC) for frame in read_frames(path, 3)]
    for frame, corner in zip(frames, ((0, 0), (20, 0), (0, 20)), strict=True):
        assert grid.crop((*corner, corner[0] + 20, corner[1] + 20)).tobytes() == frame.tobytes()
    expected = F.normalize(pictures.image_features(pictures.preprocess(grid)[None]), dim=-1)
    assert torch.allclose(encoder.encode_images([path]), expected, atol=1e-5)
    assert encoder.description["side"] == 20
    assert is_same_encoder(reload_encoder(encoder.description, device="cpu").description, encoder.description)
    assert not is_same_encoder(encoder.description | {"side": 30}, encoder.description)
    for options in ({"pooling": "grid"}, {"side": 20}, {"pooling": "grid", "side": 0}):
        with pytest.raises(ValueError, match="frames of a grid or of a flow, and no others, need a side"):
            video_encoder(**options)


def moving_square(path, step, frames=8):
    """A bright square on gray that moves by `step` (right, down) pixels from frame to frame."""
    pixels = np.full((frames, 64, 64, 3), 60, np.uint8)
    for number, frame in enumerate(pixels):
        x, y = (round(24 + direction * (number - frames / 2)) for direction in step)
        frame[y : y + 12, x : x + 12] = 200
    write_demo_video(pixels, path)
    return path


@pytest.mark.parametrize("step", [(2, 0), (-2, 0), (0, 2), (0, -2)])
def test_a_picture_of_flow_has_a_frame_and_beside_it_where_things_move(tmp_path, step):
    path = moving_square(tmp_path / "a.mp4", step)
    picture = np.asarray(flow_picture(path, 8, 64)).astype(float)
    middle = ImageOps.fit(read_frames(path, 8)[4], (64, 64), Image.Resampling.BICUBIC)
    assert picture.shape == (64, 128, 3) and (picture[:, :64] == np.asarray(middle)).all()
    right, down, change = (picture[:, 64:] - 128).mean(axis=(0, 1))
    along, across = (right, down) if step[0] else (down, right)
    assert np.sign(along) == sum(step) / 2 and abs(along) > 1 and abs(across) < 0.2 * abs(along)
    assert abs(change) < 1  # as bright as before
    assert (picture[:8, 64:] == 128).all()  # where nothing happens


def test_flow_follows_its_formula(tmp_path):
    path = moving_square(tmp_path / "a.mp4", (2, 1), frames=3)
    gray = [ImageOps.fit(frame, (64, 64), Image.Resampling.BICUBIC).convert("L") for frame in read_frames(path, 3)]
    smooth = [gaussian_filter(np.asarray(frame, dtype=np.float32), 2) for frame in gray]
    flow = np.zeros((64, 62))
    for before, after in pairwise(smooth):
        between = (before + after) / 2
        for x in range(1, 63):
            flow[:, x - 1] -= (after - before)[:, x] * (between[:, x + 1] - between[:, x - 1]) / 2 / 2
    expected = np.clip(np.round(128 + 6 * np.sign(flow) * np.sqrt(np.abs(flow))), 0, 255)
    assert np.abs(np.asarray(flow_picture(path, 3, 64))[:, 65:127, 0] - expected).max() <= 1


def test_a_tower_reads_the_picture_of_flow(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4", 6)
    wide = {"name": "wide", "model": "tiny-wide", "pretrained": "random"}
    encoder = video_encoder(of=wide, frames=3, pooling="flow", side=20)
    pictures = encoder.pictures.preprocess(flow_picture(path, 3, 20))[None]
    expected = F.normalize(encoder.pictures.image_features(pictures), dim=-1)
    assert torch.allclose(encoder.encode_images([path]), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"frames=1 with encoder.pooling=flow must be at least 2"):
        video_encoder(of=wide, frames=1, pooling="flow", side=20)
    for options in ({"pooling": "flow"}, {"pooling": "grid", "frames": 2}):
        with pytest.raises(ValueError, match=r"1 x 2 squares, which encoder.of would crop to 64 x 64 pixels"):
            video_encoder(**{"frames": 3, "side": 20, **options})


def test_a_picture_is_a_video_of_one_frame(tmp_path):
    Image.new("RGB", (80, 60), "red").save(tmp_path / "still.png")
    row = load_encoder(**OF, device="cpu").encode_images([tmp_path / "still.png"])
    assert torch.allclose(video_encoder().encode_images([tmp_path / "still.png"]), row, atol=1e-5)


def test_broken_videos_are_skipped_with_a_reason_and_workers_read_the_same(tmp_path, write_video):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    paths = [write_video(tmp_path / "a.mp4"), tmp_path / "broken.mp4", tmp_path / "gone.mp4"]
    rows, kept, reasons = video_encoder().encode_readable_images(paths)
    assert kept == [0] and "broken.mp4 cannot be read as a video" in reasons[0] and "no video" in reasons[1]
    assert torch.equal(video_encoder(workers=1).encode_readable_images(paths)[0], rows)
    with pytest.raises(ValueError, match="2 of 3 videos cannot be read"):
        video_encoder().encode_images(paths)
    assert len(pickle.dumps(video_encoder().load)) < 10_000


def test_frames_pooling_and_pictures_encoder_stand_in_the_description():
    encoder = video_encoder(frames=3, precision="fp32")
    assert encoder.description == {
        "name": "videos", "kind": "video", "frames": 3, "pooling": "mean", "precision": "fp32", "of": OF,
    }  # fmt: skip
    again = reload_encoder(json.loads(json.dumps(encoder.description)), device="cpu")
    assert is_same_encoder(again.description, encoder.description)
    other = encoder.description | {"of": OF | {"name": "renamed"}}
    assert is_same_encoder(other, encoder.description)
    assert not is_same_encoder(encoder.description | {"frames": 5}, encoder.description)
    assert not is_same_encoder(encoder.description | {"of": OF | {"model": "tiny-resnet"}}, encoder.description)
    assert not is_same_encoder(OF, encoder.description)


def test_bad_options_are_refused():
    for options, message in [
        ({"frames": 0}, r"encoder\.frames=0 must be"),
        ({"pooling": "max"}, r"encoder\.pooling='max' must be one of mean"),
        ({"of": {"name": "inner", "kind": "video", "of": OF}}, "reads videos: it must be an encoder of pictures"),
    ]:
        with pytest.raises(ValueError, match=message):
            video_encoder(**options)
    with pytest.raises(ValueError, match="videos has no patch tokens"):
        _ = video_encoder().patch_shape
    with pytest.raises(ValueError, match="videos has no transform of pictures"):
        _ = video_encoder().preprocess


def test_a_store_says_that_its_rows_are_videos(tmp_path, write_video):
    root = tmp_path / "clips"
    root.mkdir()
    images = [{"image_id": str(n), "path": f"{n}.mp4", "split": "train"} for n in range(3)]
    for number in (0, 1):
        write_video(root / f"{number}.mp4", 5 * number + 1)
    (root / "2.mp4").write_text("no video")
    captions = [{"caption_id": "0", "image_row": 0, "caption": "a clip", "split": "train"}]
    write_tables(root, images, captions)
    with pytest.raises(ValueError, match="1 of 3 videos cannot be read"):
        write_store(root, video_encoder(), "videos")
    store = write_store(root, video_encoder(), "videos", max_unreadable_fraction=0.5)
    assert store.manifest.medium == "video" and store.images("train").shape == (2, 24)
    assert json.loads((root / "videos" / "manifest.json").read_text())["medium"] == "video"
    write_tables(tmp_path / "texts", [], [{**captions[0], "image_row": None}])
    store = write_store(tmp_path / "texts", load_encoder(**OF, device="cpu"), "tiny")
    assert "medium" not in json.loads((store.path / "manifest.json").read_text())
