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


def icon(inside: bytes) -> bytes:
    """An ICO whose directory says 16 by 16, with another picture in it."""
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inside), 22) + inside


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("content", [icon(bomb(12_000, 12_000)), POSTSCRIPT])
@pytest.mark.parametrize("name", ["a.ico", "a.png", "a"])
def test_formats_beside_those_of_cameras_and_the_web_are_refused(tmp_path, content, name):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=f"^{name} is no picture that can be read"):
        check_upload(tmp_path / "file", name, "image", LIMITS)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "gif", "bmp", "tiff", "jp2", "ppm"])
def test_formats_of_cameras_and_the_web_are_read(tmp_path, picture, ending):
    check_upload(picture(tmp_path / f"a.{ending}"), f"a.{ending}", "image", LIMITS)


def test_a_photo_with_more_pictures_behind_it_is_read(tmp_path):
    frames = [Image.new("RGB", (60, 40), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    check_upload(tmp_path / "a.jpg", "a.jpg", "image", LIMITS)


def test_a_picture_that_grows_when_it_is_loaded_is_refused(tmp_path, picture, monkeypatch):
    def grow(opened):
        opened._size = (2_000, 1_000)

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", grow)
    with pytest.raises(ValueError, match=r"a.png has 2 million pixels"):
        check_upload(picture(tmp_path / "a.png"), "a.png", "image", LIMITS)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(upload_mb=1), None),
        (Limits(upload_mb=1, seconds=2), "a.mp4 has 3 seconds, and 2 are the limit"),
        (Limits(upload_mb=1, video_megapixels=0), r"a.mp4 has 30 frames of 3,072 pixels, and 0 million in all"),
    ],
)
@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
def test_a_video_that_is_too_long_is_refused(tmp_path, write_video, limits, words, ending):
    path = write_video(tmp_path / f"a.{ending}", frames=30, rate=10, codec="mpeg4")
    if words is None:
        return check_upload(path, path.name, "video", limits)
    with pytest.raises(ValueError, match=words.replace("mp4", ending)):
        check_upload(path, path.name, "video", limits)


def test_a_video_of_huge_frames_is_refused(tmp_path):
    frames = [Image.new("RGB", (1_250, 900), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=200)
    check_upload(tmp_path / "a.gif", "a.gif", "video", Limits(megapixels=2))
    with pytest.raises(ValueError, match=r"a.gif has 1 million pixels, and max_megapixels=1 is the limit"):
        check_upload(tmp_path / "a.gif", "a.gif", "video", LIMITS)


@pytest.mark.parametrize(("ending", "codec"), [("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "libmp3lame")])
def test_a_sound_that_is_too_long_is_refused(tmp_path, write_sound, ending, codec):
    """Silence packs well: a small file may hold hours."""
    path = write_sound(tmp_path / f"a.{ending}", np.zeros(16_000 * 5), codec=codec)
    check_upload(path, path.name, "sound", LIMITS)
    with pytest.raises(ValueError, match=rf"a.{ending} has 5 seconds, and 4 are the limit: shorten it"):
        check_upload(path, path.name, "sound", Limits(seconds=4))


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
