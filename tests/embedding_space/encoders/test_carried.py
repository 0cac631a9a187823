"""An encoder of one's own goes with a captioner; what the repository or the Hub has does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.paths import PRETRAINED
from embedding_space.encoders.carried import SHIPPED, carry_files, missing_parts, placed
from embedding_space.encoders.identity import is_same_encoder
from embedding_space.encoders.load import described_medium

DEMO_CLIP = {"name": "demo_clip", "model": "local-dir:pretrained/demo_clip", "pretrained": None, "sha256": "1"}


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "resume.pt"):
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize("option", ["heads", "model"])
def test_a_folder_is_copied_and_found_again_elsewhere(own, tmp_path, option):
    value = f"local-dir:{own}" if option == "model" else str(own)
    video = {"name": "frames", "kind": "video", "of": {"name": "mine", option: value, "sha256": "1"}}
    carried = carry_files(video, tmp_path / "export")
    copies = tmp_path / "export" / "encoder" / "of" / option
    assert sorted(path.name for path in copies.iterdir()) == ["config.json", "model.safetensors"]
    assert str(tmp_path) not in str(carried) and video["of"][option] == value
    (tmp_path / "export").rename(tmp_path / "moved")
    place = placed(carried, tmp_path / "moved")["of"][option]
    assert place.removeprefix("local-dir:") == str(tmp_path / "moved" / "encoder" / "of" / option)
    assert carry_files(placed(carried, tmp_path / "moved"), tmp_path / "moved") == carried  # exported in place


def test_a_file_of_weights_is_copied(tmp_path):
    (tmp_path / "weights.pt").write_text("weights")
    clip = {"name": "clip", "model": "ViT-B-32-quickgelu", "pretrained": str(tmp_path / "weights.pt")}
    carried = carry_files(clip, tmp_path / "export")
    assert carried["pretrained"] == "checkpoint:encoder/pretrained/weights.pt" and carried["model"] == clip["model"]
    assert placed(carried, tmp_path / "export")["pretrained"] == str(
        tmp_path / "export" / "encoder" / "pretrained" / "weights.pt"
    )


def test_parts_of_an_encoder_do_not_meet(own, tmp_path):
    other, to = tmp_path / "other", tmp_path / "export"
    other.mkdir()
    (other / "config.json").write_text("other")
    encoder = {"heads": str(own), "of": {"heads": str(other), "of": {"model": f"local-dir:{own}"}}}
    carried = placed(carry_files(encoder, to), to)
    assert (Path(carried["heads"]) / "config.json").read_text() == "config.json"
    assert (Path(carried["of"]["heads"]) / "config.json").read_text() == "other"
    assert Path(carried["of"]["of"]["model"].removeprefix("local-dir:"), "model.safetensors").is_file()
    assert missing_parts(encoder) == missing_parts(DEMO_CLIP) == []
    (other / "config.json").rename(other / "words.txt")  # exported again over it
    carry_files(encoder, to)
    assert [path.name for path in (to / "encoder" / "of" / "heads").iterdir()] == ["words.txt"]


def test_towers_without_heads_are_copied_and_stay_the_same_encoder(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "timm").mkdir()  # a folder of the name is not meant
    (tmp_path / "tower.pth").write_text("weights")
    towers = {
        "kind": "towers",
        "image_tower": {"model": "vit", "weights": str(tmp_path / "tower.pth"), "sha256": "1"},
        "text_tower": {"model": str(own), "pooling": "mean", "sha256": "2"},
    }
    carried = placed(carry_files(towers, tmp_path / "to", "image_encoder"), tmp_path / "to")
    place = tmp_path / "to" / "image_encoder"
    assert carried["image_tower"]["weights"] == str(place / "image_tower" / "tower.pth")
    assert carried["text_tower"]["model"] == str(place / "text_tower") and (place / "text_tower/config.json").is_file()
    assert is_same_encoder(carried, towers)
    assert not is_same_encoder(carried, {**towers, "text_tower": {**towers["text_tower"], "sha256": "3"}})
    named = {"image_tower": {"model": "vit", "weights": "timm"}, "text_tower": {"model": "package:words"}}
    assert carry_files(named, tmp_path / "other") == named and not (tmp_path / "other").exists()


def test_what_is_named_and_not_there_is_reported(tmp_path):
    gone = {"model": f"local-dir:{tmp_path}/gone", "of": {"heads": "nowhere"}}
    assert missing_parts(gone) == [f"{tmp_path}/gone", "nowhere"]
    assert missing_parts({"model": "ViT-B-32", "pretrained": "openai"}) == []


@pytest.mark.parametrize("name", ["pytorch_model.bin", "tower/model.safetensors"])
def test_what_would_be_missing_elsewhere_is_an_error_before_anything_is_copied(own, tmp_path, name):
    (own / name).parent.mkdir(exist_ok=True)
    (own / name).touch()
    with pytest.raises(ValueError, match=rf"{name.partition('/')[0]} does not go with the encoder of .*own, of whose"):
        carry_files({"heads": str(own)}, tmp_path / "export")
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize("description", [DEMO_CLIP, {"name": "clip", "model": "ViT-B-32", "pretrained": "openai"}])
def test_what_others_have_stays_there(tmp_path, monkeypatch, description):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openai").mkdir()  # a folder of the tag's name is not meant
    assert carry_files(description, tmp_path / "export") == description == placed(description, tmp_path)
    assert not (tmp_path / "export").exists()


def test_shipped_encoders_are_there_and_named_by_their_place_in_the_repository(tmp_path):
    for name in SHIPPED:
        carried = carry_files({"heads": str(PRETRAINED / name)}, tmp_path / "export")
        assert carried == {"heads": f"pretrained/{name}"} and any((PRETRAINED / name).glob("*.safetensors"))


def test_a_description_says_what_its_encoder_reads():
    media = {
        "image": DEMO_CLIP,
        "sound": {**DEMO_CLIP, "sound": {"mels": 64}},
        "video": {"kind": "video", "of": DEMO_CLIP},
    }
    assert {medium: described_medium(description) for medium, description in media.items()} == dict(
        zip(media, media, strict=True)
    )
    assert described_medium({"kind": "imagebind", "medium": "video"}) == "video"
    assert described_medium({"kind": "clap"}) == "sound"
