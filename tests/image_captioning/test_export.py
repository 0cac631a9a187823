"""scripts/export.py: half the size, the same captioner."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from omegaconf import OmegaConf
from PIL import Image

from alignment.chain import Alignment
from alignment.memory import TextMemory
from alignment.steps import Normalize
from common.paths import PRETRAINED
from embedding_space.encoders.load import load_encoder
from evaluation.captions.scoring_options import Scoring
from image_captioning.alignments import STEPS
from image_captioning.caption_photos import caption
from image_captioning.captioner import Captioner
from image_captioning.evaluate import evaluate_captioner
from image_captioning.export import carry_encoders, export
from image_captioning.hub import FILES
from image_captioning.inference_inputs import InferenceInputs
from image_captioning.tokenizer import train_tokenizer
from modality_translation.step import ModalityTranslation
from modality_translation.translation import Translation

MEMORY = [{"step": "Normalize"}, {"step": "TextMemory", "temperature": 0.1}, {"step": "Normalize"}]


@pytest.fixture
def exported(make_store, tmp_path, compose):
    """(a captioner with a text memory, its export, the store)."""
    store = make_store()
    alignment = Alignment.from_store(MEMORY, STEPS, store)
    tokenizer = train_tokenizer(store.captions("train"))
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.eos_token_id)
    torch.manual_seed(0)
    captioner = Captioner(
        dim=store.dim,
        decoder={"vocab_size": len(tokenizer), "n_layer": 1, "n_embd": 16, "n_head": 2, "n_positions": 64, **ends},
        mapper={"kind": "linear", "prefix_length": 2},
        alignment=alignment.options(),
        encoder={"name": "fake"},
    )
    captioner.alignment.load_state_dict(alignment.state_dict())
    captioner.tokenizer = tokenizer
    captioner.save_pretrained(tmp_path / "run")
    config = compose("export", f"checkpoint={tmp_path / 'run'}", f"to={tmp_path / 'shared'}")
    return captioner, export(config), store, config


def test_an_export_is_half_as_large_and_says_the_same(exported):
    captioner, folder, store, _ = exported
    size = (folder / "model.safetensors").stat().st_size
    assert size < 0.6 * (folder.parent / "run" / "model.safetensors").stat().st_size
    loaded = Captioner.load(folder).cpu()
    images = store.images("val")
    torch.testing.assert_close(loaded.align_images(images), captioner.align_images(images), rtol=0, atol=2e-3)
    assert loaded.caption_images(images, progress=False) == captioner.eval().caption_images(images, progress=False)
    assert json.loads((folder / "manifest.json").read_text())["encoder"] == {"name": "fake"}


def test_a_folder_that_holds_a_captioner_is_kept(exported):
    config = exported[3]
    with pytest.raises(
        ValueError, match=r"holds model\.safetensors already: give to= another folder, or overwrite=true"
    ):
        export(config)


def test_a_memory_too_large_for_its_run_is_in_the_export(exported, tmp_path, monkeypatch):
    captioner, _, store, config = exported
    monkeypatch.setattr(TextMemory, "MEMORY_SAVED_BYTES", 100)
    captioner = captioner.with_alignment(Alignment.from_store(MEMORY, STEPS, store))
    captioner.save_pretrained(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["alignment"][1]["store"] == str(store.path)
    config.overwrite = True
    folder = export(config)
    shutil.rmtree(store.path)
    loaded = Captioner.load(folder).cpu()
    assert str(store.path.parent) not in (folder / "config.json").read_text()
    images = torch.eye(store.dim)
    torch.testing.assert_close(loaded.align_images(images), captioner.align_images(images), rtol=0, atol=2e-3)


def test_an_export_may_have_another_image_side(exported):
    *_, store, config = exported
    config.overwrite, config.image_side.temperature, config.image_side.memory_rows = True, 0.5, 20
    loaded = Captioner.load(export(config)).cpu()
    assert loaded.alignment.options()[1] == {"step": "TextMemory", "temperature": 0.5, "rows": 20, "dim": store.dim}
    config.image_side.image_timestep = 3
    with pytest.raises(
        ValueError, match=r"no option image_side.image_timestep; known: temperature \(TextMemory\), .*memory_rows"
    ):
        export(config)


@pytest.mark.java
def test_scores_must_be_those_of_the_exported_captioner(exported, tmp_path):
    _, _, store, config = exported
    config.overwrite, config.evaluation = True, str(tmp_path / "scores")
    captioner = Captioner.load(config.checkpoint)
    captioner.encoder_description = store.manifest.encoder
    options = {"output_dir": config.evaluation, "scoring": Scoring(["CIDEr"])}
    result = evaluate_captioner(captioner, InferenceInputs(store, "val"), **options)
    assert json.loads((export(config) / "manifest.json").read_text())["scores"] == result.to_json()

    config.image_side.temperature = 0.5
    with pytest.raises(ValueError, match=r"is not of the captioner .*image_side.temperature was None.*temperature=0.5"):
        export(config)
    result = evaluate_captioner(captioner, InferenceInputs(store, "val", image_side={"temperature": 0.5}), **options)
    assert json.loads((export(config) / "manifest.json").read_text())["scores"] == result.to_json()

    captioner.provenance["seed"] = 1
    captioner._hub_mixin_config["provenance"] = {"seed": 1}
    captioner.save_pretrained(config.checkpoint)  # trained again
    with pytest.raises(ValueError, match=r"is not of the captioner that is exported .*checkpoint was "):
        export(config)
    (tmp_path / "scores" / "scores.json").write_text("{}")  # as they were before they said what they are of
    with pytest.raises(
        ValueError, match=r"was 'not recorded' .*run python scripts/eval_coco.py checkpoint=.*overwrite"
    ):
        export(config)


def test_an_evaluation_that_is_missing_is_named(exported, tmp_path):
    config = exported[3]
    config.overwrite, config.evaluation = True, str(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"nowhere: run python scripts/eval_coco.py"):
        export(config)


@pytest.fixture
def translated(exported, tmp_path):
    """(the config of an export, a photo): a captioner of fake texts that reads pictures of a CLIP in a folder."""
    captioner, *_, config = exported
    clip = tmp_path / "clip"
    shutil.copytree(PRETRAINED / "demo_clip", clip, ignore=shutil.ignore_patterns("*.md", "*.yaml", "manifest.json"))
    encoder = load_encoder("mine", model=f"local-dir:{clip}", pretrained=None, precision="fp32", device="cpu")
    assert encoder.dims["images"] != captioner.dim
    torch.manual_seed(1)
    translation = Translation(
        encoder.dims["images"], captioner.dim, {"kind": "mlp", "width": 8}, directions=["image_to_text"],
        encoders={"images": encoder.description, "texts": captioner.encoder_description},
    )  # fmt: skip
    steps = [Normalize(), ModalityTranslation.of(translation), Normalize()]
    captioner.with_alignment(Alignment(steps)).save_pretrained(tmp_path / "translating")
    config.checkpoint, config.to = str(tmp_path / "translating"), str(tmp_path / "sent")
    Image.effect_noise((64, 64), 90).save(tmp_path / "photo.png")
    return config, tmp_path / "photo.png"


def captions_by(folder, photo, compose, tmp_path) -> list[str]:
    options = (f"checkpoint={folder}", f"output_dir={tmp_path / 'out'}", "precision=fp32", "encoder.precision=fp32")
    return list(caption(compose("caption", *options), [photo]).values())


def test_an_encoder_whose_images_are_translated_goes_along(translated, compose, tmp_path, monkeypatch):
    config, photo = translated
    before = captions_by(config.checkpoint, photo, compose, tmp_path)
    folder = export(config)
    written = "".join((folder / name).read_text() for name in ("config.json", "manifest.json"))
    assert str(tmp_path / "clip") not in written and "checkpoint:image_encoder/model" in written
    assert json.loads((folder / "manifest.json").read_text())["image_encoder"]["name"] == "mine"
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    shared = set(filter_repo_objects(names, allow_patterns=FILES))  # what comes by a Hub id
    assert {name for name in names if name.startswith("image_encoder/")} <= shared
    shutil.rmtree(tmp_path / "clip")
    folder = folder.rename(tmp_path / "elsewhere")
    loaded = Captioner.from_pretrained(folder)
    place = loaded.image_encoder_description["model"]
    assert place == f"local-dir:{folder}/image_encoder/model" and loaded.encoder_description == {"name": "fake"}
    assert captions_by(folder, photo, compose, tmp_path) == before
    config.checkpoint, config.to = str(folder), str(tmp_path / "again")  # an export is exported
    assert captions_by(export(config), photo, compose, tmp_path) == before
    shutil.rmtree(tmp_path / "elsewhere")
    assert captions_by(config.to, photo, compose, tmp_path) == before


def test_a_training_is_neither_replaced_nor_exported_unfinished(exported, tmp_path):
    _, folder, _, config = exported
    for name in ("finished.json", "resume.pt"):
        (tmp_path / "run" / name).touch()
        with pytest.raises(ValueError, match=r"to=.*/run is the folder of a training"):
            export(OmegaConf.merge(config, {"to": str(tmp_path / "run"), "overwrite": True}))
    before = (folder / "manifest.json").read_text()
    with pytest.raises(ValueError, match=r"The training in checkpoint=.*/run is not finished: run its command again"):
        export(OmegaConf.merge(config, {"overwrite": True}))
    assert (folder / "manifest.json").read_text() == before
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "manifest.json").write_text("of a CLIP")
    with pytest.raises(ValueError, match=r"clip holds manifest\.json already"):
        export(OmegaConf.merge(config, {"to": str(tmp_path / "clip")}))


def test_an_encoder_that_is_not_on_this_machine_is_named(translated, tmp_path, capsys):
    config, _ = translated
    shutil.rmtree(tmp_path / "clip")
    export(config)
    assert f"Not in the export: {tmp_path / 'clip'}, of the encoder mine, since" in capsys.readouterr().err


def test_an_encoder_that_cannot_be_shared_alone_is_an_error_before_anything_is_written(translated, tmp_path):
    config, _ = translated
    (tmp_path / "clip" / "pytorch_model.bin").touch()
    with pytest.raises(ValueError, match=r"pytorch_model.bin does not go with the encoder of .*save weights as safe"):
        export(config)
    assert not Path(config.to).exists()


def test_an_encoder_of_both_sides_is_copied_once(tmp_path):
    own = {"name": "mine", "heads": str(tmp_path / "own"), "sha256": "1"}
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text("{}")
    translation = Translation(4, 4, {"kind": "mlp", "width": 2}, encoders={"images": own, "texts": dict(own)})
    alignment = Alignment([Normalize(), ModalityTranslation.of(translation), Normalize()])

    class Captions:
        encoder_description = own

    captioner = Captions()
    carry_encoders(captioner, alignment, tmp_path / "to")  # pyright: ignore[reportArgumentType]
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["encoder"]
    inside = {"name": "mine", "heads": "checkpoint:encoder/heads", "sha256": "1"}
    assert captioner.encoder_description == alignment.inference_encoder == inside
    assert alignment.options()[1]["translation"]["encoders"] == {"images": inside, "texts": inside}
