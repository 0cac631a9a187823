"""Pictures: upright, over white, and one sentence for files that are none."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from common.warn import warn_once
from embedding_space.pictures import open_picture


@pytest.fixture
def scene(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "scene.png")
    return tmp_path / "scene.png", pixels


def test_an_opaque_picture_is_unchanged(scene):
    path, pixels = scene
    assert np.array_equal(np.asarray(open_picture(path)), pixels)
    assert np.array_equal(np.asarray(open_picture(str(path))), pixels)


@pytest.mark.parametrize(
    ("mode", "clear", "black"), [("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)), ("LA", (0, 0), (0, 255)), ("P", 9, 0)]
)
def test_transparent_parts_become_white(tmp_path, mode, clear, black):
    picture = Image.new(mode, (4, 4), clear)
    picture.putpixel((1, 2), black)
    if mode == "P":
        picture.putpalette([0] * 768)
    picture.save(tmp_path / "clear.png", **({"transparency": clear} if mode == "P" else {}))
    opened = open_picture(tmp_path / "clear.png")
    assert opened.mode == "RGB"
    assert opened.getpixel((0, 0)) == (255, 255, 255) and opened.getpixel((1, 2)) == (0, 0, 0)


def test_a_colour_that_stands_for_transparency_becomes_white(tmp_path):
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "keyed.png", transparency=(1, 2, 3))
    assert open_picture(tmp_path / "keyed.png").getpixel((0, 0)) == (255, 255, 255)


def test_a_picture_is_turned_as_its_camera_was_held(scene, tmp_path):
    _, pixels = scene
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn a quarter clockwise to see it upright
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(np.asarray(open_picture(tmp_path / "turned.png")), np.rot90(pixels, -1))


def test_bad_files_are_told_in_one_sentence(scene, tmp_path, monkeypatch):
    path, _ = scene
    with pytest.raises(FileNotFoundError, match=r"There is no picture .*gone\.png"):
        open_picture(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(path.read_bytes()[:600])
    for name in ("text.png", "cut.png"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as a picture"):
            open_picture(tmp_path / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"scene\.png cannot be read as a picture: Image size"):
        open_picture(path)


PER_TEST = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
EIGHT_BITS = arrays(np.uint8, (5, 7, 3))
WRITERS = [
    ("1", "PNG"), ("1", "TIFF"), ("L", "PNG"), ("L", "TIFF"), ("L", "BMP"), ("P", "PNG"), ("P", "GIF"), ("RGB", "PNG"),
    ("RGB", "TIFF"), ("RGB", "BMP"), ("RGB", "WEBP"), ("RGB", "PPM"), ("RGBA", "PNG"), ("LA", "PNG"), ("LA", "TIFF"),
    ("CMYK", "TIFF"), ("RGBX", "TIFF"),
]  # fmt: skip


def saved(picture: Image.Image, path, form: str, **options):
    picture.save(path, form, **({"lossless": True} if form == "WEBP" else {}), **options)
    return path


@PER_TEST
@given(pixels=EIGHT_BITS, kind=st.sampled_from(WRITERS))
def test_whatever_pillow_writes_with_8_bits_comes_back(tmp_path, pixels, kind):
    mode, form = kind
    picture = Image.fromarray(pixels).convert(mode)
    assert np.array_equal(open_picture(saved(picture, tmp_path / "x", form)), picture.convert("RGB"))


@PER_TEST
@given(gray=arrays(np.uint8, (5, 7)), kind=st.sampled_from(["I;16 PNG", "I;16 TIFF", "I;16B TIFF", "I TIFF", "I PPM"]))
def test_gray_of_16_bits_is_as_bright_as_that_of_8(tmp_path, gray, kind):
    mode, form = kind.split()
    gray[0, 0] = 255  # some white: the whole range is in use
    deep = gray.astype({"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]) * 257
    picture = Image.frombytes(mode, (7, 5), deep.tobytes())
    assert np.array_equal(np.asarray(open_picture(saved(picture, tmp_path / "x", form)))[..., 0], gray)


@PER_TEST
@given(gray=arrays(np.uint8, (5, 7)))
def test_floats_from_0_to_1_are_as_bright_as_8_bits(tmp_path, gray):
    path = saved(Image.fromarray(gray.astype(np.float32) / 255), tmp_path / "x", "TIFF")
    assert np.array_equal(np.asarray(open_picture(path))[..., 0], gray)


@pytest.mark.parametrize("bits", [8, 12])
def test_fewer_bits_in_16_are_read_as_such_with_one_warning(tmp_path, caplog, bits):
    warn_once.cache_clear()
    gray = np.arange(256, dtype=np.uint16).reshape(16, 16)
    for name in ("a", "b"):
        saved(Image.fromarray(gray << (bits - 8)), tmp_path / name, "PNG")
        assert np.array_equal(np.asarray(open_picture(tmp_path / name))[..., 1], gray)
    assert [f"are read as pictures of {bits} bits" in record.message for record in caplog.records] == [True]


def png_of_16_bits(pixels: np.ndarray, color_type: int) -> bytes:
    """A PNG file written out: Pillow itself writes gray ones alone."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape[:2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    )


@PER_TEST
@given(pixels=EIGHT_BITS)
def test_color_of_16_bits_is_as_bright_as_that_of_8(tmp_path, pixels):
    (tmp_path / "x.png").write_bytes(png_of_16_bits(pixels.astype(np.uint16) * 257, 2))
    assert np.array_equal(open_picture(tmp_path / "x.png"), pixels)


def test_dark_pictures_of_16_bits_are_read_as_such_with_a_warning(tmp_path, caplog):
    warn_once.cache_clear()
    color = np.full((4, 4, 3), 16_383, np.uint16)
    (tmp_path / "color.png").write_bytes(png_of_16_bits(color, 2))
    saved(Image.fromarray(color[..., 0]), tmp_path / "gray.png", "PNG")
    (tmp_path / "12.png").write_bytes(png_of_16_bits(color // 4, 2))
    assert [open_picture(tmp_path / f"{name}.png").getpixel((0, 0))[0] for name in ("color", "gray", "12")] == [
        63,
        63,
        15,
    ]
    told = [record.message for record in caplog.records]
    assert ["14 bits" in told[0], "14 bits" in told[1], "12 bits" in told[2]] == [True] * 3 == [len(told) == 3] * 3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[0, 65_536]], np.int32), "values run from 0 to 65,536"),
        (np.array([[-1, 9]], np.int32), "values run from -1 to 9"),
        (np.array([[0, 255]], np.float32), "floating-point values run from 0 to 255"),
        (np.array([[-0.1, 1]], np.float32), "floating-point values run from -0.1 to 1"),
        (np.array([[0, np.nan]], np.float32), "floating-point values run from nan to nan"),
    ],
)
def test_numbers_without_a_known_range_are_refused_with_the_remedy(tmp_path, values, words):
    saved(Image.fromarray(values), tmp_path / "deep.tif", "TIFF")
    with pytest.raises(ValueError, match=rf"deep\.tif cannot be read as a picture: its {words}.*save it with 8 bits"):
        open_picture(tmp_path / "deep.tif")


@pytest.mark.parametrize("values", [np.array([[0, 65535]], np.uint16), np.array([[0, 1]], np.float32)])
def test_where_zero_is_white_deep_gray_is_turned(tmp_path, values):
    saved(Image.fromarray(values), tmp_path / "negative.tif", "TIFF", tiffinfo={262: 0})
    assert np.asarray(open_picture(tmp_path / "negative.tif"))[0, :, 0].tolist() == [255, 0]


def test_a_value_of_16_bits_that_stands_for_transparency_becomes_white(tmp_path):
    values = np.array([[700, 40_000, 65_535]], np.uint16)
    saved(Image.fromarray(values), tmp_path / "keyed.png", "PNG", transparency=700)
    assert np.asarray(open_picture(tmp_path / "keyed.png"))[0, :, 0].tolist() == [255, 156, 255]


def test_ink_of_adobes_jpeg_is_no_negative(tmp_path):
    for name, ink in (("white", (0, 0, 0, 0)), ("black", (0, 0, 0, 255))):
        Image.new("CMYK", (16, 16), ink).save(tmp_path / name, "JPEG")  # as Adobe does: inverted, with its marker
        assert b"Adobe" in (tmp_path / name).read_bytes()
    assert open_picture(tmp_path / "white").getpixel((3, 3)) == (255, 255, 255)
    assert open_picture(tmp_path / "black").getpixel((3, 3)) == (0, 0, 0)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_pictures_in_a_file_it_is_the_first(tmp_path, form):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "lime")]
    saved(frames[0], tmp_path / "x", form, save_all=True, append_images=frames[1:])
    assert open_picture(tmp_path / "x").getpixel((4, 4)) == (255, 0, 0)


def test_deep_gray_is_turned_as_its_camera_was_held_and_broken_exif_is_no_reason_to_refuse(scene, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    values = np.array([[0, 65_535]], np.uint16)
    saved(Image.fromarray(values), tmp_path / "turned.png", "PNG", exif=exif)
    assert open_picture(tmp_path / "turned.png").size == (1, 2)
    path, pixels = scene
    saved(Image.open(path), tmp_path / "broken.png", "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xffdamaged")
    assert np.array_equal(open_picture(tmp_path / "broken.png"), pixels)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
@PER_TEST
@given(share=st.floats(0, 0.999))
def test_a_file_that_was_cut_is_refused_or_whole(scene, tmp_path, form, share):
    picture, whole = Image.open(scene[0]), io.BytesIO()
    picture.save(whole, form)
    content = whole.getvalue()
    (tmp_path / "cut").write_bytes(content[: int(share * len(content))])
    try:
        opened = open_picture(tmp_path / "cut")
    except ValueError as error:
        opened = str(error)
    if isinstance(opened, str):
        assert opened.startswith(f"{tmp_path / 'cut'} cannot be read as a picture: ")
    else:
        assert np.array_equal(opened, ImageOps.exif_transpose(Image.open(whole)).convert("RGB"))
