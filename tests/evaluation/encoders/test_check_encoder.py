"""The command that checks an encoder, and the check before a data set is encoded: what passes, fails, is left out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from common.files import file_sha256
from comparison.prepare_data import prepare
from embedding_space.encoders.open_clip_encoder import OpenClipEncoder
from embedding_space.store import EmbeddingStore
from embedding_space.tables import write_tables
from embedding_space.write_store import write_store
from evaluation.encoders.check import check_weights
from evaluation.encoders.check_encoder import check_before_encoding, check_encoder
from evaluation.encoders.known import KNOWN, OPENAI, VIT_B32, KnownWeights
from evaluation.encoders.pictures import PICTURES, find_picture
from evaluation.encoders.probe import Probe

pytestmark = pytest.mark.usefixtures("tiny_models")

TEXTS = ("a diagram", "a dog", "a cat")


@pytest.fixture
def known(tiny_file, pictures, monkeypatch) -> KnownWeights:
    """The checkpoint of the tiny tower as known weights: what they are, and recorded probes."""
    encoder = OpenClipEncoder("tiny", "tiny-quickgelu", str(tiny_file), device="cpu")
    files = {path.name: path for path in pictures.iterdir()}
    nothing = ((0.0,) * 3,)
    probes = (
        Probe("CLIP.png", TEXTS, nothing, "here", ("CLIP.png",), "probabilities", 1e-3, hidden_colors=True),
        Probe("two pictures", TEXTS, nothing * 2, "here", ("CLIP.png", "000000039769.jpg"), "logits", 1e-3),
        Probe("texts", TEXTS, nothing * 3, "here", tolerance=1e-3),
    )
    weights = KnownWeights(
        model="tiny-quickgelu",
        sha256=file_sha256(tiny_file),
        parameters=sum(value.numel() for value in encoder.model.parameters()),
        size=64,
        **{**OPENAI, "pretrained": "published", "logit_scale": 14.29, "gap": (0.0, 2.0), "paired_cosine": (-1.0, 1.0)},
        probes=tuple(probe.recorded(encoder, files) for probe in probes),
    )
    monkeypatch.setitem(KNOWN, "tiny.published", weights)
    return weights


@pytest.fixture
def options(tmp_path, pictures, tiny_file):
    """A command's options but for the model: no data set is there."""
    return [
        f"encoder.pretrained={tiny_file}", "encoder.name=tiny", "encoder.workers=0", f"pictures={pictures}",
        f"cache_dir={tmp_path}/cache", f"dataset.root={tmp_path}/data", f"output_dir={tmp_path}/out",
    ]  # fmt: skip


def written(tmp_path) -> dict[str, str]:
    checks = json.loads((tmp_path / "out" / "checks.json").read_text())["checks"]
    return {check["name"]: check["state"] for check in checks}


def tables(root, write: bool = True):
    random, images, captions = np.random.default_rng(3), [], []
    root.mkdir(parents=True, exist_ok=True)
    for number in range(6):
        coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((80, 70)).save(root / f"{number}.png")
        images.append({"image_id": str(number), "path": f"{number}.png", "split": "train"})
        for caption in ("first", "second"):
            row = {"caption_id": f"{number}{caption}", "image_row": number, "split": "train"}
            captions.append({**row, "caption": f"the {caption} caption of {number}"})
    if write:
        write_tables(root, images, captions)


def test_the_right_weights_pass_and_what_is_left_out_is_said(compose, known, options, tmp_path, capsys):
    checks = check_encoder(compose("check_encoder", "encoder.model=tiny-quickgelu", *options))
    states = written(tmp_path)
    assert {name: state for name, state in states.items() if state != "passed"} == {"rows of pairs": "not checked"}
    assert len(checks) == len(states) and states["SHA-256 of the file"] == "passed"
    printed = capsys.readouterr().out
    assert "tiny, held against tiny.published" in printed
    assert "Left unchecked or unclear: rows of pairs.\n" in printed
    assert "rows of pairs: neither" in printed and "QuickGELU" in printed


def test_another_activation_fails_by_its_name_and_by_each_probe(compose, known, options, tmp_path):
    with pytest.raises(
        ValueError, match=r"4 of 12 checks of the encoder tiny failed \(activation: GELU, not QuickGELU; CLIP"
    ):
        check_encoder(compose("check_encoder", "encoder.model=tiny", *options))
    failed = {name for name, state in written(tmp_path).items() if state == "failed"}
    assert failed == {"activation", "CLIP.png", "two pictures", "texts"}


def test_a_damaged_file_fails(compose, known, options, tiny_file, tmp_path):
    damaged = tmp_path / "damaged.pt"
    state = torch.load(tiny_file, weights_only=True)
    state["transformer.resblocks.0.mlp.c_fc.weight"][:40] = 0
    state["visual.proj"][:, 0] = 0
    torch.save(state, damaged)
    options = ["encoder.model=tiny-quickgelu", *options, f"encoder.pretrained={damaged}", "known=tiny.published"]
    with pytest.raises(ValueError, match=r"3 of 11 checks of .* failed \(CLIP\.png: .*fetch them again"):
        check_encoder(compose("check_encoder", *options))
    assert written(tmp_path)["SHA-256 of the file"] == "not checked"
    damaged.write_bytes(tiny_file.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"cannot be loaded: the file is damaged"):
        check_encoder(compose("check_encoder", *options))


def test_pictures_that_are_not_there_leave_their_probes_unchecked(compose, known, options, tmp_path, capsys):
    check_encoder(compose("check_encoder", "encoder.model=tiny-quickgelu", *options, "pictures=none"))
    states = written(tmp_path)
    assert states["CLIP.png"] == states["two pictures"] == "not checked" and states["texts"] == "passed"
    assert "CLIP.png: from here; CLIP.png is not there: run python scripts/check_encoder.py" in capsys.readouterr().out
    check_encoder(compose("check_encoder", "encoder.model=tiny-quickgelu", *options, "pictures=fetch"))
    printed = capsys.readouterr().out
    assert "127.0.0.1:9 cannot be reached" in printed and "in a folder and give pictures=FOLDER" in printed


def test_another_picture_of_that_name_is_refused(compose, known, options, pictures):
    Image.new("RGB", (60, 60)).save(pictures / "CLIP.png")
    with pytest.raises(ValueError, match=r"pictures=.*CLIP\.png has the SHA-256 .* not the published ones"):
        check_encoder(compose("check_encoder", "encoder.model=tiny-quickgelu", *options))


def test_bad_options_are_refused_before_anything_is_loaded(compose, options):
    with pytest.raises(
        ValueError, match=r"Unknown name of known weights 'ViT-B-32' \(option known\).*ViT-B-32\.openai"
    ):
        check_encoder(compose("check_encoder", *options, "known=ViT-B-32"))
    with pytest.raises(FileNotFoundError, match="pictures=nowhere is no folder, and neither"):
        check_encoder(compose("check_encoder", *options, "pictures=nowhere"))


def test_rows_of_a_store_and_of_tables(compose, known, options, tmp_path, tiny_file):
    run = ["encoder.model=tiny-quickgelu", *options, "sample=4", "split=train"]
    root = tmp_path / "data"
    tables(root)
    with pytest.raises(ValueError, match="captions are no nearer"):  # the tower is random
        check_encoder(compose("check_encoder", *run))
    states = written(tmp_path)
    assert states["lengths of rows"] == states["gap of the means"] == states["cosine of pairs"] == "passed"
    encoder = OpenClipEncoder("tiny", "tiny-quickgelu", str(tiny_file), device="cpu")
    write_store(root, encoder, "tiny", "train", None)
    check_of = {check.name: check for check in _checks(compose, run)}
    assert check_of["rows of the store again"].state == "passed"
    assert "4 images of" in check_of["lengths of rows"].source
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(EmbeddingStore, "text_split", "elsewhere")  # as NoCaps, of which there is no training text
        check_of = {check.name: check for check in _checks(compose, run)}
    assert check_of["rows of the store again"].state == "not checked" and "lengths of rows" in check_of
    rows = np.load(root / "tiny" / "texts.npy")
    np.save(root / "tiny" / "texts.npy", np.roll(rows, 5, axis=1) * 1.1)
    check_of = {check.name: check for check in _checks(compose, run)}
    assert check_of["rows of the store again"].state == check_of["lengths of rows"].state == "failed"


def _checks(compose, run):
    import evaluation.encoders.check_encoder as module

    kept = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "raise_failed", lambda checks, *_: kept.extend(checks))
        check_encoder(compose("check_encoder", *run))
    return kept


def test_a_random_tower_of_the_same_architecture_fails_every_known_probe(pictures):
    encoder = OpenClipEncoder("random", VIT_B32.model, "random", device="cpu")
    checks = {check.name: check.state for check in check_weights(encoder, VIT_B32)}
    assert checks.pop("logit scale") == "failed"
    assert set(checks.values()) == {"passed"}, checks  # parameters, activation, preprocessing
    files = {path.name: path for path in pictures.iterdir()}
    for probe in VIT_B32.probes:
        if not set(probe.pictures) <= set(files):
            probe = replace(probe, pictures=("CLIP.png", *["000000039769.jpg"] * 7))
        assert probe.verdict(probe.measure(encoder, files)) == "failed", probe.name
    encoder.description = {"name": "renamed", "model": VIT_B32.model, "pretrained": "openai"}
    with pytest.raises(ValueError, match=r"failed \(logit scale: 14\.29, not 100\.00"):
        check_before_encoding(encoder, pictures / "nothing")


def test_preparing_a_data_set_stops_at_weights_that_fail(compose, known, tiny_file, tmp_path, monkeypatch):
    root = tmp_path / "data"
    tables(root)
    run = [
        "dataset=tables", "dataset.name=mine", f"dataset.root={root}", "dataset.text_split=train",
        "dataset.image_mean_split=null", "encoder=clip_vit_b32", "encoder.name=tiny", "encoder.workers=0",
        f"encoder.pretrained={tiny_file}", f"probes_dir={tmp_path}/cache", f"output_dir={tmp_path}/out",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"2 of 10 checks .*activation.*check_encoder=false encodes nevertheless"):
        prepare(compose("prepare_data", *run, "encoder.model=tiny"))
    assert not (root / "tiny").exists()
    store = prepare(compose("prepare_data", *run, "encoder.model=tiny", "check_encoder=false"))
    assert store is not None and store.manifest.rows == {"images": 6, "texts": 12}
    assert prepare(compose("prepare_data", *run, "encoder.model=tiny-quickgelu", "encoder.name=right")) is not None


def test_doubts_are_warned_of_before_encoding(known, tiny_file, tmp_path, monkeypatch, caplog):
    shifted = tuple(tuple(value - 0.02 * (value < 0.9999) for value in row) for row in known.probes[-1].values)
    doubtful = replace(known.probes[-1], values=shifted, unclear_to=0.05)
    monkeypatch.setitem(KNOWN, "tiny.published", replace(known, probes=(doubtful,)))
    check_before_encoding(OpenClipEncoder("tiny", "tiny-quickgelu", str(tiny_file), device="cpu"), tmp_path)
    assert "tiny, texts: values differ by up to" in caplog.text


def test_pictures_come_from_a_package_that_is_installed(tmp_path, monkeypatch):
    package = tmp_path / "madepictures"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").touch()
    Image.new("RGB", (8, 8), "red").save(package / "data" / "page.png")
    monkeypatch.syspath_prepend(str(tmp_path))
    digest = file_sha256(package / "data" / "page.png")
    picture = replace(PICTURES["page.png"], package=("made-pictures", "madepictures"))
    monkeypatch.setitem(PICTURES, "page.png", picture)
    assert find_picture("page.png", None, tmp_path, False) == "made-pictures has another page.png than the probe's"
    monkeypatch.setitem(PICTURES, "page.png", replace(picture, sha256=digest))
    assert find_picture("page.png", None, tmp_path, False) == package / "data" / "page.png"
    monkeypatch.setitem(PICTURES, "page.png", replace(picture, package=("no-such", "nosuchmodule")))
    assert find_picture("page.png", None, tmp_path, False) == "page.png comes with a package: pip install no-such"
