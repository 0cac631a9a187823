"""Frames of videos: which ones, in every container, and what is said of files that are broken."""

from __future__ import annotations

import struct
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

import embedding_space.videos as videos
from embedding_space.pictures import open_picture
from embedding_space.videos import middles, read_frames

SIZE = (48, 64)  # height and width of the tests' videos


def gray_levels(count: int) -> list[int]:
    return [240 * number // max(count - 1, 1) for number in range(count)]


def levels(frames: list[Image.Image]) -> np.ndarray:
    """The gray level at the bottom right of each frame."""
    return np.array([np.asarray(frame)[-8, -8].mean() for frame in frames])


def expected(frames: int, count: int) -> list[int]:
    """The levels of the frames in the middles of `count` equal parts, counted."""
    return [gray_levels(frames)[int(frames * (part + 0.5) / count)] for part in range(count)]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.ts", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.mov", "mpeg4"),
        ("a.mpg", "mpeg2video"),
    ],
)
@pytest.mark.parametrize("seconds", [2, 60])
def test_the_middles_of_equal_parts_are_read_from_every_container_by_decoding_and_by_seeking(
    tmp_path, write_video, name, codec, seconds
):
    rate = 24 if codec == "mpeg2video" else 10
    path = write_video(tmp_path / name, rate * seconds, rate, codec)
    for count in (1, 3, 5):
        frames = read_frames(path, count)
        assert all(frame.mode == "RGB" and frame.size == SIZE[::-1] for frame in frames)
        step = 240 / (rate * seconds)
        assert np.abs(levels(frames) - expected(rate * seconds, count)).max() <= 4 + step


def test_middles_are_centers_of_equal_parts():
    assert middles(Fraction(2), Fraction(12), 5) == [3, 5, 7, 9, 11]
    assert middles(Fraction(0), Fraction(1), 1) == [Fraction(1, 2)]


def test_a_long_video_is_not_decoded_whole(tmp_path, write_video, monkeypatch):
    path = write_video(tmp_path / "long.mp4", 6000, 1, gop=10)  # 100 minutes, with 600 key frames
    decoded = []
    decode = videos.decode
    monkeypatch.setattr(videos, "decode", lambda *args: (decoded.append(1) or frame for frame in decode(*args)))
    assert np.abs(levels(read_frames(path, 5)) - expected(6000, 5)).max() <= 4
    assert len(decoded) < 100


def test_with_variable_rates_time_counts(tmp_path, write_video):
    path = write_video(tmp_path / "slides.mkv", 4, times=[0.0, 0.1, 0.2, 6.0])
    assert np.abs(levels(read_frames(path, 3)) - [gray_levels(4)[2]] * 3).max() <= 4
    assert np.abs(levels(read_frames(path, 60))[[0, 1, 2, -1]] - gray_levels(4)).max() <= 4


def test_one_frame_stands_for_all(tmp_path, write_video):
    frames = read_frames(write_video(tmp_path / "one.mp4", 1), 5)
    assert len(frames) == 5 and len({frame.tobytes() for frame in frames}) == 1
    few = read_frames(write_video(tmp_path / "two.mp4", 2), 4)
    assert np.abs(levels(few) - [0, 0, 240, 240]).max() <= 4


def test_pictures_and_animations_are_videos_too(tmp_path):
    Image.new("RGB", (20, 10), (1, 2, 3)).save(tmp_path / "still.png")
    assert read_frames(tmp_path / "still.png", 2) == [open_picture(tmp_path / "still.png")] * 2
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    pictures = [Image.new("RGB", (20, 10), color) for color in colors]
    pictures[0].save(tmp_path / "moving.gif", save_all=True, append_images=pictures[1:], duration=200)
    assert [frame.getpixel((3, 3)) for frame in read_frames(tmp_path / "moving.gif", 3)] == colors
    clear = [Image.new("RGBA", (20, 10), (0, 0, 0, 0)), Image.new("RGBA", (20, 10), (0, 0, 255, 255))]
    clear[0].save(tmp_path / "clear.gif", save_all=True, append_images=clear[1:], duration=200, disposal=2)
    assert [frame.getpixel((3, 3)) for frame in read_frames(tmp_path / "clear.gif", 2)] == [
        (255, 255, 255),
        (0, 0, 255),
    ]


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        ((0, 1, -1, 0), (0, -1)),  # a phone held upright: a quarter turn clockwise
        ((0, -1, 1, 0), (-1, 0)),
        ((-1, 0, 0, -1), (-1, -1)),
    ],
)
def test_frames_are_turned_as_the_file_says(tmp_path, write_video, matrix, corner):
    path = write_video(tmp_path / "turned.mp4", 3)
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # ISO/IEC 14496-12, section 8.3.2: the matrix {a, b, u, c, d, v, x, y, w}
    a, b, c, d = (value << 16 for value in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    pixels = np.asarray(read_frames(path, 1)[0])
    assert pixels.shape[:2] == (SIZE if matrix[1] == 0 else SIZE[::-1])
    red = np.array([[pixels[y, x, 0] > 200 for x in (2, -3)] for y in (2, -3)])
    assert red.sum() == 1 and red[corner]


@pytest.mark.parametrize(("name", "options"), [("a.mkv", {}), ("a.ts", {}), ("a.mp4", {"movflags": "faststart"})])
def test_a_file_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path, write_video, caplog, name, options):
    path = write_video(tmp_path / name, 100, **options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    frames = levels(read_frames(path, 5))
    assert (np.diff(frames) > 5).all() and frames[-1] < 200
    if name != "a.ts":  # which states no length
        assert "of 10.0 s: is it cut off?" in caplog.text


def test_damaged_parts_are_passed_over(tmp_path, write_video):
    path = write_video(tmp_path / "a.mkv", 100)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    path.write_bytes(content)
    assert len(read_frames(path, 5)) == 5


def test_what_is_no_video_is_refused_with_its_name(tmp_path, write_video, write_sound):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "junk.mp4").write_bytes(b"junk" * 1000)
    cut = write_video(tmp_path / "cut.mp4")
    cut.write_bytes(cut.read_bytes()[:1000])  # its index was at the end
    for name in ("empty.mp4", "junk.mp4", "cut.mp4"):
        with pytest.raises(ValueError, match=rf"{name} cannot be read as a video: it is damaged, or no media file"):
            read_frames(tmp_path / name, 5)
    write_sound(tmp_path / "song.wav", np.zeros(1000))
    with pytest.raises(ValueError, match=r"song\.wav cannot be read as a video: it has no pictures"):
        read_frames(tmp_path / "song.wav", 5)
    with pytest.raises(FileNotFoundError, match=r"There is no video .*gone\.mp4"):
        read_frames(tmp_path / "gone.mp4", 5)
    with pytest.raises(FileNotFoundError):
        read_frames("https://example.org/video.mp4", 5)  # nothing is fetched


def test_a_name_that_looks_like_an_address_is_a_name(tmp_path, write_video, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4").rename(tmp_path / "concat:b|c.mp4")
    assert len(read_frames("concat:b|c.mp4", 2)) == 2
