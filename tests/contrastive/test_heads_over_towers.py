"""Heads over frozen towers: views, features kept on disk, and a small run from photos to an encoder and a store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from transformers import BertConfig, BertModel

from common.plain import plain
from common.processes import Processes
from contrastive import features as shared_features
from contrastive import task
from contrastive.features import Augmentation, FrozenFeatures
from contrastive.heads_over_towers import FeaturePairs, heads_over_towers
from contrastive.training_run import train
from contrastive.word_tokenizer import train_word_tokenizer
from embedding_space.encoders.heads import TowerHeads
from embedding_space.encoders.load import load_encoder
from embedding_space.encoders.tower_encoder import TowerEncoder
from embedding_space.encoders.towers import ImageTower, Preprocess
from embedding_space.tables import read_tables, write_tables
from embedding_space.write_store import write_store
from training.batches import StepRandom
from training.loop import Loop
from training.loop_config import LoopConfig

ROOT = Path(__file__).resolve().parents[2]
COLOURS = {"red": (230, 30, 30), "green": (30, 200, 40), "blue": (30, 60, 230), "white": (240, 240, 240)}


@pytest.fixture
def photos(tmp_path):
    """Pictures of one colour above another, captions naming both; splits pairs, train (captions alone), val, test."""
    root = tmp_path / "photos"
    (root / "images").mkdir(parents=True)
    images, captions = [], []
    for split in ("pairs", "train", "val", "test"):
        for number, (top, bottom) in enumerate((a, b) for a in COLOURS for b in COLOURS):
            pixels = np.random.default_rng(len(images)).integers(0, 30, (40, 40, 3)).astype(np.int64)
            pixels[:20] += np.array(COLOURS[top])
            pixels[20:] += np.array(COLOURS[bottom])
            path = f"images/{split}_{number}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / path)
            images.append({"image_id": f"{split}_{number}", "path": path, "split": split})
            for form, text in enumerate((f"{top} over {bottom}", f"{bottom} under {top}")):
                row = {"caption_id": f"{split}_{number}_{form}", "image_row": len(images) - 1, "caption": text}
                captions.append({**row, "split": split})
    write_tables(root, images, captions)
    return root


@pytest.fixture
def towers(tmp_path):
    """Options of two tiny towers of random weights that lie in files, with names that Hydra takes."""
    torch.manual_seed(0)
    words = train_word_tokenizer(["red green blue white over under"], 20)
    words.save_pretrained(tmp_path / "bert")
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=20, max_position_embeddings=12, **small)).save_pretrained(tmp_path / "bert")
    image = {"model": "test_efficientnet", "image_size": 32, "features": ["mean", "mean@0", "max@0"]}
    torch.save(ImageTower(**image, weights="random").model.state_dict(), tmp_path / "image.pth")
    return {
        "name": "tiny",
        "kind": "towers",
        "image_tower": {**image, "weights": str(tmp_path / "image.pth")},
        "text_tower": {"model": str(tmp_path / "bert")},
        "batch_size": 5,
    }


@pytest.fixture
def configured(compose, photos, towers, tmp_path):
    def make(*overrides, name="heads"):
        config = compose(
            "contrastive",
            "model=heads",
            "encoder=photo_towers",
            f"dataset.root={photos}",
            "dataset.pairs_split=pairs",
            f"output_dir={tmp_path / name}",
            "model.dim=16",
            "model.image_head.hidden=24",
            "model.text_head.hidden=null",
            "model.image_head.dropout=0.1",
            "loop.steps=60",
            "loop.batch_size=8",
            "loop.precision='no'",
            "loop.warmup_steps=2",
            "loop.evaluate_every=20",
            "loop.checkpoint_every=null",
            "loop.learning_rate=1e-2",
            *overrides,
        )
        config.encoder = towers
        return config

    return make


def features(photos, towers, folder, augmentation):
    encoder = TowerEncoder(**{key: value for key, value in towers.items() if key != "kind"})
    return FrozenFeatures(folder, encoder, read_tables(photos), augmentation, Processes())


def test_views_are_the_picture_its_mirror_image_and_crops_that_are_the_same_every_time():
    # 32 of 43 columns are cut out, an odd margin: mirrored before that, the cut would lie one column aside.
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 43, 3), dtype=np.uint8))
    preprocess = Preprocess(32, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    augmentation = Augmentation(views=4, jitter=0.2)
    plain = augmentation.view(picture, 7, 0, preprocess)
    assert torch.equal(plain, preprocess(picture))
    assert torch.equal(augmentation.view(picture, 7, 1, preprocess), plain.flip(-1))
    assert not torch.allclose(preprocess(ImageOps.mirror(picture)), plain.flip(-1), atol=0.1)
    first = augmentation.view(picture, 7, 2, preprocess)
    state = torch.random.get_rng_state()
    assert first.shape == (3, 32, 32) and torch.equal(first, augmentation.view(picture, 7, 2, preprocess))
    assert torch.equal(state, torch.random.get_rng_state())
    others = [augmentation.view(picture, *place, preprocess) for place in ((7, 3), (8, 2))]
    others.append(Augmentation(views=4, jitter=0.2, seed=1).view(picture, 7, 2, preprocess))
    assert len({view.numpy().tobytes() for view in (first, *others)}) == 4


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("views", [0, 1.5, True, None]),
        ("crop_scale", [[0, 1], [0.4, 1.2], [0.9, 0.4], [0.5], 0.5, [float("nan"), 1], ["0.4", 1], None]),
        ("crop_ratio", [[-1, 1], [2, 0.5], [0.5, float("inf")], [0.5, float("nan")], [1, 1, 1]]),
        ("jitter", [-0.1, 1.1, float("nan"), float("inf"), "0.2", [0.1, 0.2]]),
        ("seed", [-1, 0.5, None]),
    ],
)
def test_an_augmentation_that_cannot_be_meant_is_refused_by_its_option(key, values):
    for value in values:
        with pytest.raises(ValueError, match=rf"^model\.augmentation\.{key}.* (must |is missing)"):
            Augmentation(**{key: value})
    Augmentation(3, [1, 1], [0.5, 0.5], 1, 7)


def test_features_are_the_towers_and_are_computed_once(photos, towers, tmp_path, monkeypatch):
    monkeypatch.setattr("contrastive.features.SHARD_IMAGES", 6)
    source = features(photos, towers, tmp_path / "features", Augmentation(views=3))
    pairs = FeaturePairs(read_tables(photos), "pairs", torch.device("cpu"), source, 3)
    encoder, tables = load_encoder(**towers), read_tables(photos)
    rows = tables.image_rows("pairs")
    unit = torch.nn.functional.normalize(pairs.images[:, 0].float(), dim=-1)
    assert pairs.images.shape[:2] == (16, 3)
    assert torch.allclose(unit, encoder.encode_images(tables.image_paths(rows)), atol=2e-3)
    sentences = torch.nn.functional.normalize(pairs.texts.float(), dim=-1)
    assert torch.allclose(sentences, encoder.encode_texts(pairs.captions), atol=2e-3)
    assert not torch.allclose(pairs.images[:, 0], pairs.images[:, 2], atol=1e-2)

    shards = sorted((tmp_path / "features").rglob("*.npy"))
    assert len(shards) == 3 * 3 + 1  # three views of 16 pictures by 6, and all captions
    times = {shard: shard.stat().st_mtime_ns for shard in shards}
    lost = shards[0]
    lost.unlink()  # as after an interruption
    again = FeaturePairs(tables, "pairs", torch.device("cpu"), source, 3)
    assert torch.equal(again.images, pairs.images) and torch.equal(again.texts, pairs.texts)
    assert {shard for shard in shards if shard.stat().st_mtime_ns != times[shard]} == {lost}
    other = features(photos, towers, tmp_path / "features", Augmentation(views=9, crop_scale=(0.2, 0.3)))
    changed = FeaturePairs(tables, "pairs", torch.device("cpu"), other, 3)
    assert torch.equal(changed.images[:, :2], pairs.images[:, :2])
    assert not torch.allclose(changed.images[:, 2], pairs.images[:, 2], atol=1e-2)


def shared_work(photos: Path, towers: dict, folder: Path, processes: Processes) -> dict[str, str | list]:
    """What each process of the test below does: the second meets an unreadable photo, which is then mended."""
    shared_features.SHARD_IMAGES = 6
    encoder = TowerEncoder(**{key: value for key, value in towers.items() if key != "kind"})
    tables = read_tables(photos)
    source = FrozenFeatures(folder, encoder, tables, Augmentation(), processes)
    path = tables.image_paths(tables.image_rows("pairs"))[7]
    content, found = path.read_bytes(), {}
    processes.run_on_main(lambda: path.write_text("no picture"))
    try:
        source.images("pairs", tables.image_rows("pairs"), 1)
    except ValueError as error:
        found["error"] = str(error)
    processes.run_on_main(lambda: path.write_bytes(content))
    found["sum"] = source.images("pairs", tables.image_rows("pairs"), 1).float().sum((1, 2)).tolist()
    return found


def test_an_unreadable_photo_of_one_process_stops_all(photos, towers, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    (tmp_path / "towers.json").write_text(json.dumps(towers))
    done = subprocess.run(
        [*torchrun, __file__, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert "pairs_7.png cannot be read as a picture" in second["error"]
    assert first["error"] == f"Stopped because of process 1: ValueError: {second['error']}"
    alone = features(photos, towers, tmp_path / "alone", Augmentation())
    rows = alone.tables.image_rows("pairs")
    assert first["sum"] == second["sum"]
    assert first["sum"] == pytest.approx(alone.images("pairs", rows, 1).float().sum((1, 2)).tolist(), rel=1e-3)


def test_a_step_draws_a_view_and_a_caption_of_each_picture(photos, towers, tmp_path):
    source = features(photos, towers, tmp_path / "features", Augmentation(views=3))
    pairs = FeaturePairs(read_tables(photos), "pairs", torch.device("cpu"), source, 3)
    pictures = torch.arange(16)
    seen = set()
    for step in range(40):
        images, texts = pairs.draw(pictures, StepRandom(0, step, 16, slice(0, 16)))
        for picture in (0, 9):
            view = [torch.equal(images[picture], pairs.images[picture, v].float()) for v in range(3)]
            owned = range(int(pairs.first[picture]), int(pairs.first[picture + 1]))
            caption = [torch.equal(texts[picture], pairs.texts[c].float()) for c in owned]
            assert sum(view) == sum(caption) == 1
            seen.add((picture, view.index(True), caption.index(True)))
    assert len(seen) == 2 * 3 * 2
    whole = pairs.draw(pictures, StepRandom(0, 3, 16, slice(0, 16)))
    parts = [pairs.draw(pictures[s], StepRandom(0, 3, 16, s)) for s in (slice(0, 8), slice(8, 16))]
    for together, apart in zip(whole, zip(*parts, strict=True), strict=True):
        assert torch.equal(together, torch.cat(apart))


def test_the_manifest_has_the_figures_of_the_weights_that_are_kept(configured, tmp_path, monkeypatch):
    measured, shift = task.measure, iter((0.0, 0.1, 0.2))  # the first evaluation is made the best

    def worse_and_worse(model, pairs):
        figures = measured(model, pairs)
        return {**figures, "retrieval_error": 0.5 + next(shift), "paired_cosine": figures["paired_cosine"]}

    monkeypatch.setattr(task, "measure", worse_and_worse)
    train(configured("loop.keep=retrieval_error", "loop.steps=6", "loop.evaluate_every=2"))
    lines = [json.loads(line) for line in (tmp_path / "heads" / "metrics.jsonl").read_text().splitlines()]
    cosines = [line["paired_cosine"] for line in lines if "paired_cosine" in line]
    manifest = json.loads((tmp_path / "heads" / "manifest.json").read_text())
    assert manifest["metrics"]["paired_cosine"] == pytest.approx(cosines[0], abs=1e-5) != cosines[-1]


def test_mirrored_heads_see_both_views_of_training_pictures_that_validate(configured, tmp_path):
    setup = heads_over_towers(
        config := configured("model.mirror=true", "model.augmentation.views=1", "validation_split=pairs"),
        read_tables(Path(config.dataset.root)), Loop(LoopConfig(**plain(config.loop), seed=0), tmp_path / "loop"),
    )  # fmt: skip
    pairs = setup.pairs("pairs")
    assert pairs.images.shape[1] == 2
    images, _ = pairs.draw(torch.arange(8), StepRandom(0, 0, 8, slice(0, 8)))
    assert torch.equal(images, pairs.images[:8, 0].float())  # training draws the one view that it has


def test_from_photos_to_heads_to_an_encoder_to_a_store(configured, photos, tmp_path):
    options = ("report_split=test", "loop.keep=retrieval_error", "model.mirror=true")
    config = configured("model.augmentation.views=3", *options)
    figures = train(config)
    assert figures["retrieval_error"] < 0.35
    lines = [json.loads(line) for line in (tmp_path / "heads" / "metrics.jsonl").read_text().splitlines()]
    errors = [line["retrieval_error"] for line in lines if "retrieval_error" in line]
    manifest = json.loads((tmp_path / "heads" / "manifest.json").read_text())
    assert manifest["metrics"]["retrieval_error"] == pytest.approx(min(errors), abs=1e-6)
    assert len(errors) == 3 and manifest["report_split"] == "test" and manifest["pairs_split"] == "pairs"
    assert manifest["report_metrics"]["image_to_text_recall_at_10"] > 0.8
    saved = json.loads((tmp_path / "heads" / "config.json").read_text())
    assert saved["image_tower"]["features"] == ["mean", "mean@0", "max@0"]

    encoder = load_encoder("tiny", kind="towers", heads=str(tmp_path / "heads"), batch_size=7)
    assert encoder.description["sha256"] and encoder.dim == 16
    assert saved["mirror"] and encoder.heads.config["mirror"]
    store = write_store(photos, encoder, "tiny", text_split="train", image_mean_split="train")
    pairs = torch.from_numpy(store.pairs("test"))
    own = (store.images("test")[pairs] * store.texts("test")).sum(1).mean()
    assert own > (store.images("test") @ store.texts("test").T).mean() + 0.1
    assert train(config)["steps"] == 60  # re-used, not trained again
    (tmp_path / "heads" / "manifest.json").unlink()  # as a kill before it was written leaves the folder
    assert train(config)["steps"] == 60
    again = json.loads((tmp_path / "heads" / "manifest.json").read_text())
    assert all(again[key] == manifest[key] for key in ("metrics", "report_metrics", "sha256", "tables_hash"))


def test_an_interrupted_run_ends_as_an_uninterrupted_one(configured, tmp_path, monkeypatch):
    shared = f"model.features_dir={tmp_path / 'features'}"
    options = ("loop.steps=6", "loop.checkpoint_every=3", "loop.evaluate_every=null", "loop.ema_decay=0.9", shared)
    train(configured(*options, "model.augmentation.views=2", name="whole"))
    config = configured(*options, "model.augmentation.views=2", name="parts")
    from contrastive.task import ContrastiveTask

    loss = ContrastiveTask.loss

    def fail_at_step_4(self, model, random):
        if random.step == 4:
            raise RuntimeError("power cut")
        return loss(self, model, random)

    monkeypatch.setattr(ContrastiveTask, "loss", fail_at_step_4)
    with pytest.raises(RuntimeError, match="power cut"):
        train(config)
    monkeypatch.setattr(ContrastiveTask, "loss", loss)
    train(config)
    whole, parts = (TowerHeads.load(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_frozen_is_frozen_and_a_fixed_scale_stays(configured, tmp_path):
    config = configured("loop.steps=5", "model.train_logit_scale=false", "model.init_logit_scale=3.0")
    before = {path: path.read_bytes() for path in (tmp_path / "image.pth", *Path(tmp_path / "bert").iterdir())}
    train(config)
    assert TowerHeads.load(tmp_path / "heads").logit_scale.item() == 3.0
    description = json.loads((tmp_path / "heads" / "config.json").read_text())["image_tower"]
    assert ImageTower(**description).description["sha256"] == description["sha256"]
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.parametrize("offset", [0.0, 2.0])
def test_cones_make_a_modality_gap(configured, tmp_path, offset):
    figures = train(configured(f"model.cone_offset={offset}", "loop.learning_rate=1e-4", "loop.steps=5"))
    # Two unit rows' mean cosine c within a cone puts its centroid at sqrt(c); the cones' directions are random.
    assert (figures["centroid_distance"] > 0.8) == (offset > 0)


def test_what_the_options_cannot_mean_is_refused(configured, compose, photos, tmp_path):
    config = configured()
    config.model.kind = "tower"
    with pytest.raises(
        ValueError, match=r"Unknown kind of model 'tower' \(option model\.kind\); known: clip, clap, heads"
    ):
        train(config)
    for encoder in (None, {"name": "clip", "model": "ViT-B-32"}, {"name": "done", "kind": "towers", "heads": "a"}):
        config = configured(name=f"run_{encoder and encoder['name']}")
        config.encoder = encoder
        with pytest.raises(ValueError, match=r"which encoder=\w+ is not: set encoder=photo_towers"):
            train(config)
    (photos / "images" / "pairs_3.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"pairs_3\.png cannot be read"):
        train(configured(name="unreadable"))


def test_the_experiment_names_what_the_readme_says(compose):
    config = compose("contrastive", "experiment=photo_clip")
    assert (config.model.kind, config.dataset.name, config.encoder.name) == ("heads", "flickr8k_photos", "photo_towers")
    assert config.dataset.pairs_split == "pairs" and config.validation_split == "val"
    assert config.output_dir == "outputs/contrastive/photo_clip" and config.loop.keep in ("last", "retrieval_error")


if __name__ == "__main__":
    place, mine = Path(sys.argv[1]), Processes()
    options = json.loads((place / "towers.json").read_text())
    (place / f"rank{mine.rank}.json").write_text(
        json.dumps(shared_work(place / "photos", options, place / "shared", mine))
    )
