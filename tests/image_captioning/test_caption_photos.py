"""Captioning files of one's own: what the encoder reads is captioned, and what an earlier run wrote is not lost."""

from __future__ import annotations

import json

import pytest

from image_captioning import caption_photos
from image_captioning.caption_photos import caption, find_files, keep_earlier


@pytest.fixture
def folder(tmp_path):
    """Two photos, two sounds, a video, an animation, and files of other kinds."""
    root = tmp_path / "mixed"
    for name in ("a.JPG", "deep/b.png", "bark.ogg", "deep/rain.wav", "clip.mp4", "wave.gif", "notes.txt", ".a.jpg"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 4)
    return root


@pytest.fixture
def run(make_captioner, bytes_encoder, compose, tmp_path, monkeypatch):
    """Caption paths by a tiny captioner whose encoder reads a medium."""

    def caption_by(medium: str, *paths):
        captioner = make_captioner()
        monkeypatch.setattr(caption_photos, "reload_encoder", lambda *_, **__: bytes_encoder(medium))
        config = compose("caption", f"output_dir={tmp_path}/captions", "precision=fp32", "checkpoint=mine")
        return caption(config, list(paths), lambda _: captioner)

    return caption_by


def test_a_mixed_folder_is_sorted_by_what_the_encoder_reads(folder):
    files, others = find_files([folder], "image")
    assert [file.name for file in files] == ["a.JPG", "b.png", "wave.gif"]
    assert {kind: [file.name for file in of] for kind, of in others.items()} == {
        "sounds": ["bark.ogg", "rain.wav"],
        "videos": ["clip.mp4"],
        "other files": ["notes.txt"],
    }
    assert [file.name for file in find_files([folder], "video")[0]] == ["clip.mp4", "wave.gif"]
    assert find_files([folder / "notes.txt"], "sound") == ([folder / "notes.txt"], {})  # named itself: it is tried


@pytest.mark.parametrize(
    ("medium", "captioned", "left_out"),
    [
        ("image", {"a.JPG", "b.png", "wave.gif"}, ["2 sounds (bark.ogg, rain.wav)", "1 video (clip.mp4)"]),
        ("sound", {"bark.ogg", "rain.wav"}, ["3 pictures (a.JPG, b.png, wave.gif)", "1 video (clip.mp4)"]),
        ("video", {"clip.mp4", "wave.gif"}, ["2 pictures (a.JPG, b.png)", "2 sounds (bark.ogg, rain.wav)"]),
    ],
)
def test_the_rest_of_a_folder_is_named_by_kind(run, folder, tmp_path, capsys, medium, captioned, left_out):
    captions = run(medium, folder)
    assert {path.rsplit("/", 1)[1] for path in captions} == captioned
    assert json.loads((tmp_path / "captions" / "captions.json").read_text()) == captions
    printed = capsys.readouterr().err
    for what in (*left_out, "1 other file (notes.txt)"):
        assert printed.count(f"Left out: {what}, for the encoder {medium} bytes reads") == 1


def test_a_file_of_another_medium_alone_is_an_error(run, folder):
    with pytest.raises(ValueError, match=r"No pictures in .*bark\.ogg, and the encoder of checkpoint=mine, image"):
        run("image", folder / "bark.ogg")
    (folder / "cut.ogg").write_bytes(b"no")
    with pytest.raises(ValueError, match="None of the 1 sounds can be read"):
        run("sound", folder / "cut.ogg")
    with pytest.raises(ValueError, match="give files or folders"):
        run("sound")


def test_captions_of_earlier_runs_are_kept_under_another_name(tmp_path, capsys):
    def run(content: str) -> None:
        keep_earlier(tmp_path, content.encode())
        for name in ("captions.json", "captions.csv", "config.yaml"):
            (tmp_path / name).write_text(content)

    for content in ("a", "b", "b", "c"):
        run(content)
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {kept[name] for name in kept if name.endswith(".json")} == {"a", "b", "c"} and len(kept) == 9
    assert (kept["config.yaml"], kept["config_1.yaml"], kept["config_2.yaml"]) == ("c", "a", "b")
    assert (kept["captions.csv"], kept["captions_1.csv"], kept["captions_2.csv"]) == ("c", "a", "b")
    assert capsys.readouterr().err.count("already: kept as captions_") == 2


@pytest.mark.parametrize("names", [["captions.csv"], ["config.yaml", "captions_1.json"]])
def test_files_that_no_run_wrote_are_kept_too(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("mine")
    keep_earlier(tmp_path, b"{}")
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == ({"captions_1.csv"} if names[0] == "captions.csv" else {"config_2.yaml", "captions_1.json"})
