"""The new data set: its tables, what is kept and what is refused, through the commands' entry points."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from common.config import compose_config
from comparison.prepare_data import prepare
from embedding_space.errors import MissingTables
from embedding_space.tables import read_tables, write_tables
from scripts.synthesize_images import run
from synthetic_images.defects import read_defects
from synthetic_images.provenance import Provenance


@pytest.fixture(scope="module")
def painted(world, tmp_path_factory):
    """The tiny world with pictures for its text, and what its provenance says."""
    config = compose_config(
        "synthesize_images", f"dataset.root={world}", f"output_dir={tmp_path_factory.mktemp('outputs')}"
    )
    return world.parent / "demo_synthetic", run(config)


@pytest.fixture
def photos(tmp_path):
    """A data set whose text split has photos of its own, as Flickr8k's text half."""
    root = tmp_path / "data" / "photos"
    (root / "images").mkdir(parents=True)
    images, captions = [], []
    for number, split in enumerate(("train", "train", "train", "pairs", "test")):
        Image.new("RGB", (40, 40), (50 * number, 90, 200)).save(root / "images" / f"{number}.png")
        images.append({"image_id": f"i{number}", "path": f"images/{number}.png", "split": split})
        for place, noun in enumerate(("dog", "cat")):
            caption = {"caption_id": f"i{number}#{place}", "image_row": number, "caption": f"a {noun} on a farm"}
            captions.append({**caption, "split": split})
    write_tables(root, images, captions)
    return root


def test_the_text_gets_pictures_and_everything_else_stays(world, painted):
    root, provenance = painted
    source, tables = read_tables(world), read_tables(root)
    rows = source.caption_rows("train")
    assert provenance.captions == provenance.pictures == len(rows) == 60
    old = len(source.images)
    assert tables.images["image_id"].to_pylist()[:old] == source.images["image_id"].to_pylist()
    assert tables.images["split"].to_pylist() == source.images["split"].to_pylist() + ["synthetic"] * 60
    assert tables.images["path"][0].as_py() == "../demo/images/pretrain/000000.png"
    assert tables.captions["caption"] == source.captions["caption"]
    assert tables.captions["caption_id"] == source.captions["caption_id"]
    captions = tables.captions.to_pylist()
    for row, (before, after) in enumerate(zip(source.captions.to_pylist(), captions, strict=True)):
        if row in rows:
            assert after["split"] == "synthetic"
            image = tables.images.slice(after["image_row"], 1).to_pylist()[0]
            assert image["image_id"] == after["caption_id"] and image["split"] == "synthetic"
        else:
            assert after == before
    assert all(path.is_file() for path in tables.image_paths(np.arange(len(tables.images))))
    assert (tables.pairs("synthetic") == np.arange(60)).all()
    assert not (root / "shards").exists()


def test_defects_and_provenance_are_beside_the_tables(world, painted):
    root, provenance = painted
    defects = read_defects(root)
    ids = set(read_tables(root).images["image_id"].to_pylist())
    assert set(defects["image_id"].to_pylist()) <= ids
    counts = {kind: count for kind, count in provenance.defects.items() if count}
    assert sum(counts.values()) == len(defects) > 10
    assert provenance == Provenance.read(root)
    assert provenance.images == "synthetic" and provenance.painter["kind"] == "demo_world"
    assert provenance.source == {"name": "demo", "tables_hash": read_tables(world).hash, "text_split": "train"}
    assert {"command", "commit", "versions", "packages", "license", "pictures_per_second"} <= set(provenance.facts)
    assert provenance.painter["unfaithfulness"] == 0.5
    with pytest.raises(MissingTables):
        Provenance.read(world)


def test_other_commands_open_the_new_data_set(painted, tmp_path):
    root, _ = painted
    store = prepare(
        compose_config(
            "prepare_data", "dataset=demo_synthetic", f"dataset.root={root}", "encoder.precision=fp32", "patches=true",
            f"output_dir={tmp_path}",
        )
    )  # fmt: skip
    assert store.text_split == "synthetic" and store.manifest.image_mean_split == "pretrain"
    assert len(store.texts("synthetic")) == len(store.images("synthetic")) == 60
    assert store.patches("synthetic").shape[0] == 60 and store.has_mean("image")


def test_a_finished_painting_is_kept_and_another_is_refused(painted, world, painting_config, capsys):
    root, provenance = painted
    before = (root / "painting.json").read_bytes()
    assert run(painting_config(world)) == provenance
    assert "60 pictures are there already" in capsys.readouterr().out
    assert (root / "painting.json").read_bytes() == before
    for option, message in (
        ("painter.unfaithfulness=0.25", "painter.unfaithfulness=0.5, but painter.unfaithfulness=0.25 is asked"),
        ("seed=3", "seed=0, but seed=3 is asked for: choose another name"),
        ("max_captions=5", "max_captions=None, but max_captions=5"),
    ):
        with pytest.raises(ValueError, match=message):
            run(painting_config(world, option))


def test_fewer_captions_are_drawn_by_the_seed_and_get_the_same_pictures(painted, world, painting_config):
    root, _ = painted
    provenance = run(painting_config(world, "max_captions=7", "name=few"))
    few, everything = read_tables(world.parent / "few"), read_tables(root)
    assert provenance.captions == 7 and len(few.image_rows("synthetic")) == 7
    assert len(few.caption_rows("train")) == 53  # the others stay text
    paths = dict(zip(everything.images["image_id"].to_pylist(), everything.images["path"].to_pylist(), strict=True))
    for row in few.images.take(few.image_rows("synthetic")).to_pylist():
        assert row["path"] == paths[row["image_id"]]
        assert (few.root / row["path"]).read_bytes() == (root / row["path"]).read_bytes()
    run(painting_config(world, "max_captions=7", "seed=1", "name=few_others"))
    other = read_tables(world.parent / "few_others")
    assert other.images["image_id"] != few.images["image_id"]


def test_an_interrupted_command_goes_on(world, painting_config, monkeypatch):
    from synthetic_images import drawing

    monkeypatch.setattr(drawing, "SHARD", 16)
    root = world.parent / "resumed"
    run(painting_config(world, "name=whole"))
    calls = iter(range(3))

    def interrupted(drawer, shard):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return draw_shard(drawer, shard)

    draw_shard = drawing.draw_shard
    monkeypatch.setattr(drawing, "draw_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(painting_config(world, "name=resumed"))
    monkeypatch.setattr(drawing, "draw_shard", draw_shard)
    assert not (root / "painting.json").exists()
    with pytest.raises(ValueError, match=r"painted with painter\.image_size=96, but painter\.image_size=64"):
        run(painting_config(world, "name=resumed", "painter.image_size=64"))
    run(painting_config(world, "name=resumed"))
    assert read_tables(root).hash == read_tables(world.parent / "whole").hash
    for path in sorted((world.parent / "whole" / "images").rglob("*.png")):
        assert path.read_bytes() == (root / path.relative_to(world.parent / "whole")).read_bytes()
    assert read_defects(root) == read_defects(world.parent / "whole")


def test_captions_leave_their_own_photos(photos, painting_config):
    config = painting_config(photos, "dataset=flickr8k_photos", "max_captions=4")
    assert config.name == "flickr8k_photos_synthetic"
    run(config)
    tables = read_tables(photos.parent / "flickr8k_photos_synthetic")
    captions = tables.captions.to_pylist()
    assert [row["split"] for row in captions].count("synthetic") == 4
    assert all(row["image_row"] is None for row in captions if row["split"] == "train")
    assert len(tables.image_rows("train")) == 3  # the photos stay, for the image mean
    assert tables.pairs("pairs").tolist() == [0, 0] and tables.pairs("test").tolist() == [0, 0]


def test_retrieval_takes_unpaired_photos(photos, painting_config, tmp_path):
    options = [f"dataset.root={photos}", f"output_dir={tmp_path}", "encoder=demo_clip"]
    tables = ["dataset=tables", "dataset.name=photos", "encoder.precision=fp32"]
    prepare(compose_config("prepare_data", *tables, *options))
    provenance = run(painting_config(photos, "dataset=tables", "dataset.name=photos", "painter=retrieval"))
    painted = read_tables(photos.parent / "photos_retrieval")
    assert provenance.images == "unpaired real photos" and provenance.defects is None
    assert provenance.pictures == round(0.9 * 6) == len(painted.caption_rows("synthetic"))
    files = painted.image_paths(painted.image_rows("synthetic"))
    assert len(files) == len(set(files)) == 3  # each photo once, however many captions have it
    train = {f"../photos/images/{number}.png" for number in range(3)}
    captions = painted.captions["caption_id"].take(painted.caption_rows("synthetic")).to_pylist()
    chosen = painted.images["path"].take(painted.image_rows("synthetic")).take(painted.pairs("synthetic")).to_pylist()
    for caption, path in zip(captions, chosen, strict=True):
        assert path in train - {f"../photos/images/{caption[1]}.png"}
    assert not (painted.root / "images").exists() and not (painted.root / "defects.parquet").exists()


def test_what_cannot_be_painted_is_refused(painted, photos, painting_config, tmp_path):
    root, _ = painted
    with pytest.raises(ValueError, match="has a split 'synthetic' already: give the data set that it was painted from"):
        run(painting_config(root, "dataset=demo_synthetic"))
    with pytest.raises(ValueError, match=r"dataset\.text_split=test: training data"):
        run(painting_config(photos, "dataset.text_split=test"))
    with pytest.raises(ValueError, match=r"Unknown kind of painter 'oil' \(option painter\.kind\); known: demo_world"):
        run(painting_config(photos, "dataset.image_mean_split=train", "painter.kind=oil"))
    (photos.parent / "taken").mkdir()
    (photos.parent / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="taken is in the way: no painting began it"):
        run(painting_config(photos, "name=taken"))
    twice = tmp_path / "data" / "twice"
    shutil.copytree(photos, twice)
    images, captions = read_tables(photos).images.to_pylist(), read_tables(photos).captions.to_pylist()
    write_tables(twice, [{**row, "image_id": f"{row['image_id']}#0"} for row in images], captions)
    with pytest.raises(ValueError, match=r"'i0#0' in .*twice is an image's id and a caption's"):
        run(painting_config(twice))
    assert json.loads((root / "painting.json").read_text())["seed"] == 0
