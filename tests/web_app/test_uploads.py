"""Files of visitors: refused by their header alone, read by the house's reader, and never left behind."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from web_app.uploads import Limits, Upload, check_upload, in_its_name, renamed, shown_name, temporary_files

LIMITS = Limits(upload_mb=1, megapixels=1, files=2)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises so many pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (bomb(40_000, 40_000), "big.png", "big.png has too many pixels: make it smaller"),
        (bomb(2_000, 1_000), "wide.png", "wide.png has 2 million pixels, and max_megapixels=1 is the limit"),
        (b"x" * (2**20 + 1), "long.jpg", "long.jpg has 1.0 MiB, and max_upload_mb=1 is the limit"),
        (b"", "none.jpg", "none.jpg is empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", "a.svg is no picture that can be read"),
        (b"RIFF", "dog.mp4", "dog.mp4 is one of the videos by its name, and this checkpoint reads pictures"),
    ],
)
def test_a_file_is_refused_in_one_sentence_before_it_is_decoded(tmp_path, content, name, words):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        check_upload(path, name, "image", LIMITS)
    assert words in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_a_video_of_huge_frames_is_refused(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4", frames=3)
    check_upload(path, "a.mp4", "video", LIMITS)
    with pytest.raises(ValueError, match=r"a.mp4 has 0 million pixels, and max_megapixels=0"):
        check_upload(path, "a.mp4", "video", Limits(megapixels=0))


def test_pictures_of_any_mode_are_read_as_the_house_reads_them(handlers, tmp_path):
    """16 bits, a palette, transparency and a turned camera: the preview is the upright picture."""
    gray = np.linspace(0, 65_535, 60 * 90).reshape(60, 90).astype(np.uint16)
    Image.fromarray(gray).save(tmp_path / "deep.png")
    Image.fromarray((gray >> 8).astype(np.uint8)).quantize(16).save(tmp_path / "palette.png", transparency=0)
    upright = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: shown turned by a quarter
    upright.save(tmp_path / "turned.jpg", exif=exif)
    for name, size in (("deep.png", (90, 60)), ("palette.png", (90, 60)), ("turned.jpg", (60, 90))):
        encoded, shown, parts = handlers.upload(tmp_path / name, name, handlers.usual)
        assert encoded is not None and "<table>" in parts.captions
        assert f'width="{size[0]}" height="{size[1]}"' in shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("C:\\photos\\dog.jpg", "dog.jpg"),
        ("../../etc/passwd", "passwd"),
        ("a\nb\x00.jpg", "a b\x00.jpg"),
        ("\ud83d.jpg", "\ufffd.jpg"),
        ("", "the file"),
        ("x" * 500, "x" * 80),
    ],
)
def test_names_of_visitors_are_shown_without_folders_on_one_line(name, shown):
    assert shown_name(name) == shown


def test_temporary_files_have_our_names_and_are_gone_after_errors_too():
    uploads = [Upload("../evil.JPG", b"1"), Upload("no ending", b"2"), Upload("x.exe", b"3")]
    with temporary_files(uploads, "image") as paths:
        assert [path.name for path in paths] == ["0000.jpg", "0001", "0002"]
        assert [path.read_bytes() for path in paths] == [b"1", b"2", b"3"]
    assert not paths[0].parent.exists()
    kept = []

    def fail() -> None:
        with temporary_files(uploads, "image") as paths:
            kept.extend(paths)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not kept[0].parent.exists()


def test_errors_have_the_visitors_name(tmp_path):
    path = tmp_path / "0000.jpg"
    assert in_its_name(f"{path} cannot be read", path, "dog.jpg") == "dog.jpg cannot be read"
    with pytest.raises(ValueError, match=r"^dog.jpg is cut off$"), renamed(path, "dog.jpg"):
        raise ValueError(f"{path} is cut off")
