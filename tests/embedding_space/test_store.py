"""The store: rows that stay with their table, verification, resuming."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from common.hints import with_hint
from embedding_space.encoders.base import Encoder
from embedding_space.errors import DamagedStore, MissingStore, MissingTables
from embedding_space.store import EmbeddingStore
from embedding_space.tables import read_tables, write_tables
from embedding_space.write_store import write_store


class CountingEncoder(Encoder):
    """Embeds a text by its number at the end; counts and may fail."""

    dims: ClassVar = {"images": 4, "texts": 4}

    def __init__(self, fail_after: int | None = None, name: str = "counting"):
        super().__init__(device="cpu")
        self.description = {"name": name, "model": name}
        self.encoded, self.fail_after = 0, fail_after

    def encode_texts(self, texts: list[str], done=lambda count: None) -> torch.Tensor:
        if self.fail_after is not None and self.encoded >= self.fail_after:
            raise KeyboardInterrupt
        self.encoded += len(texts)
        return torch.tensor([[np.cos(n), np.sin(n), 1.0, 0.0] for n in (float(text.split()[-1]) for text in texts)])


@pytest.fixture
def corpus(tmp_path):
    captions = [{"caption_id": str(n), "image_row": None, "caption": f"text {n}", "split": "train"} for n in range(10)]
    write_tables(tmp_path / "corpus", [], captions)
    return tmp_path / "corpus"


def test_rows_are_unit_and_belong_to_their_captions(make_store):
    store = make_store()
    assert torch.allclose(store.texts("train").norm(dim=-1), torch.ones(200), atol=2e-3)
    captions, texts = store.captions("test"), store.texts("test")
    seen: dict[str, torch.Tensor] = {}
    for caption, row in zip(captions, texts, strict=True):
        assert torch.equal(seen.setdefault(caption, row), row)


def test_pairs_point_at_each_captions_image(make_store):
    store = make_store()
    ids, pairs = store.image_ids("test"), store.pairs("test")
    references = store.tables.references("test")
    for caption, row in zip(store.captions("test"), pairs, strict=True):
        assert caption in references[ids[row]]
    with pytest.raises(ValueError, match="has no pairs"):
        store.pairs("train")


def test_pairs_and_references_stay_within_their_split(tmp_path):
    images = [{"image_id": str(n), "path": f"{n}.png", "split": split} for n, split in enumerate(("val", "test"))]
    captions = [
        {"caption_id": str(n), "image_row": row, "caption": f"text {n}", "split": split}
        for n, (row, split) in enumerate([(1, "test"), (0, "val"), (1, "pretrain"), (1, "test"), (None, "train")])
    ]
    tables = write_tables(tmp_path, images, captions)
    assert tables.pairs("test").tolist() == [0, 0] and tables.pairs("val").tolist() == [0]
    assert tables.references("test") == {"1": ["text 0", "text 3"]}
    captions[0]["image_row"] = 0
    with pytest.raises(ValueError, match="belong to images of another split"):
        write_tables(tmp_path, images, captions).pairs("test")


def test_a_split_named_train_is_itself_and_the_text_corpus_goes_by_its_own_name(tmp_path):
    captions = [
        {"caption_id": str(n), "image_row": None, "caption": f"text {n}", "split": "corpus" if n < 3 else "train"}
        for n in range(5)
    ]
    write_tables(tmp_path, [], captions)
    store = write_store(tmp_path, CountingEncoder(), "counting", text_split="corpus", image_mean_split=None)
    assert store.text_split == "corpus" and store.captions(store.text_split) == ["text 0", "text 1", "text 2"]
    assert store.captions("train") == ["text 3", "text 4"] and len(store.texts("train")) == 2
    assert torch.allclose(store.mean("text"), store.texts("corpus").mean(0), atol=1e-3)


@pytest.mark.parametrize("option", ["text_split", "image_mean_split"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_means_never_come_from_held_out_splits(corpus, option, split):
    with pytest.raises(ValueError, match=rf"dataset\.{option}={split}"):
        write_store(corpus, CountingEncoder(), "counting", **{option: split})


def test_means_are_over_the_splits_that_the_manifest_names(make_store):
    store = make_store()
    assert torch.allclose(store.mean("text"), store.texts("train").mean(0), atol=1e-3)
    assert torch.allclose(store.mean("image"), store.images("pretrain").mean(0), atol=1e-3)
    assert (store.manifest.text_mean_split, store.manifest.image_mean_split) == ("train", "pretrain")


def test_a_text_only_corpus_has_no_images_and_says_so(corpus):
    store = write_store(corpus, CountingEncoder(), "counting")
    assert store.texts("train").shape == (10, 4)
    assert store.has_mean("text") and not store.has_mean("image")
    with pytest.raises(ValueError, match=r"no image_mean.*option dataset\.image_mean_split"):
        store.mean("image")
    with pytest.raises(ValueError, match="no images of split 'test'"):
        store.images("test")


def test_an_interrupted_encoding_goes_on_where_it_stopped(corpus, monkeypatch):
    monkeypatch.setattr("embedding_space.write_store.SHARD_ROWS", 3)
    with pytest.raises(KeyboardInterrupt):
        write_store(corpus, CountingEncoder(fail_after=6), "counting")
    with pytest.raises(MissingStore):
        EmbeddingStore(corpus / "counting")
    second = CountingEncoder()
    resumed = write_store(corpus, second, "counting")
    assert second.encoded == 4
    whole = write_store(corpus, CountingEncoder(), "whole")
    assert torch.equal(resumed.texts("train"), whole.texts("train"))
    assert not list(corpus.glob("*.partial"))


def test_an_interrupted_encoding_of_something_else_is_begun_anew(corpus, monkeypatch):
    monkeypatch.setattr("embedding_space.write_store.SHARD_ROWS", 3)
    with pytest.raises(KeyboardInterrupt):
        write_store(corpus, CountingEncoder(fail_after=6), "counting")
    other = CountingEncoder(name="other")
    write_store(corpus, other, "counting")
    assert other.encoded == 10


def test_a_finished_store_is_reused_and_another_encoders_is_refused(corpus):
    write_store(corpus, CountingEncoder(), "counting")
    again = CountingEncoder(fail_after=0)
    write_store(corpus, again, "counting")
    assert again.encoded == 0
    with pytest.raises(ValueError, match="holds other embeddings"):
        write_store(corpus, CountingEncoder(name="other"), "counting")


def test_changed_tables_are_noticed(make_store):
    store = make_store()
    tables = read_tables(store.path.parent)
    captions = tables.captions.to_pylist()
    captions[0]["caption"] = "something else"
    write_tables(store.path.parent, tables.images.to_pylist(), captions)
    with pytest.raises(ValueError, match="are not those that"):
        EmbeddingStore(store.path).texts("train")


def test_an_array_of_another_shape_is_noticed(make_store):
    store = make_store()
    np.save(store.path / "texts.npy", np.zeros((3, 16), np.float16))
    with pytest.raises(ValueError, match=r"has shape \(3, 16\)"):
        EmbeddingStore(store.path)


def test_a_store_of_another_format_is_refused(make_store):
    store = make_store()
    manifest = json.loads((store.path / "manifest.json").read_text())
    (store.path / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        EmbeddingStore(store.path)


def test_a_row_that_is_not_finite_is_named(make_store):
    store = make_store()
    array = np.load(store.path / "texts.npy")
    row = int(store.tables.caption_rows("test")[3])
    array[row, 2] = np.inf
    np.save(store.path / "texts.npy", array)
    store = EmbeddingStore(store.path)
    assert store.texts("val").isfinite().all()
    with pytest.raises(ValueError, match=rf"texts\.npy is damaged .*text embedding of row {row} "):
        store.texts("test")


def _cut(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("manifest.json", _cut),
        ("manifest.json", lambda path: path.write_text("[]")),
        ("manifest.json", lambda path: path.write_text("null")),
        ("manifest.json", lambda path: path.write_text('{"format": 1, "dim": 16}')),
        ("manifest.json", lambda path: path.write_bytes(b"\xff\xfe")),
        ("images.npy", _cut),
        ("texts.npy", lambda path: path.write_bytes(b"")),
        ("statistics.safetensors", _cut),
        ("statistics.safetensors", lambda path: path.unlink()),
    ],
)
def test_a_damaged_file_is_named_with_the_command_that_mends_it(make_store, file, damage):
    path = make_store().path
    damage(path / file)
    with pytest.raises(DamagedStore) as caught:
        EmbeddingStore(path).mean("text")
    assert re.search(
        rf"{file} is damaged \(.*\): delete .* and run python scripts/prepare_data\.py", with_hint(caught.value)
    )


def test_what_stands_in_a_stores_place_is_told_before_encoding(corpus):
    (corpus / "counting").mkdir()
    (corpus / "counting" / "notes.txt").write_text("mine")
    encoder = CountingEncoder()
    with pytest.raises(ValueError, match=r"counting is in the way.*no manifest\.json"):
        write_store(corpus, encoder, "counting")
    assert encoder.encoded == 0


def test_the_command_can_be_typed_again(corpus, monkeypatch):
    monkeypatch.setattr("sys.argv", ["scripts/prepare_data.py", "dataset=demo", "dataset.root=my data"])
    store = write_store(corpus, CountingEncoder(), "counting")
    assert store.manifest.command == "python scripts/prepare_data.py dataset=demo 'dataset.root=my data'"


@pytest.mark.parametrize(
    ("store", "command"),
    [
        ("coco/ViT-B-32-quickgelu.openai", "scripts/prepare_data.py dataset=coco encoder=clip_vit_b32"),
        ("demo/demo_clip", "scripts/prepare_data.py dataset=demo encoder=demo_clip"),
        ("mine/photo_clip", "scripts/prepare_data.py dataset=tables dataset.name=mine encoder=photo_clip"),
        ("coco/imported", "scripts/prepare_data.py dataset=tables dataset.name=coco encoder=imported train=FILE"),
    ],
)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_missing_store_names_the_command_that_makes_it(tmp_path, monkeypatch, compose, store, command, elsewhere):
    """The command of configs, not of the names of folders; its own store is the missing one."""
    monkeypatch.setenv("DIFFUSION_BRIDGE_DATA", str(tmp_path / ("data" if elsewhere else "")))
    with pytest.raises(FileNotFoundError, match=r"^No embeddings in ") as caught:
        EmbeddingStore(tmp_path / store)
    message = with_hint(caught.value)
    script, *options = message.partition(": run python ")[2].split()
    assert ("dataset.root=" in message) == elsewhere
    assert " ".join([script, *(option for option in options if "dataset.root" not in option)]) == command
    config = compose(script.removeprefix("scripts/").removesuffix(".py"), *options)
    assert f"{config.dataset.root}/{config.encoder.name}" == str(tmp_path / store)


def test_a_missing_store_of_an_encoder_without_a_config_names_both_ways_to_it(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFUSION_BRIDGE_DATA", str(tmp_path))
    assert re.search(
        r"prepare_data\.py dataset=coco encoder=CONFIG encoder\.name=theirs with .*, or, .* "
        r"scripts/prepare_data\.py dataset=tables dataset\.name=coco encoder=imported encoder\.name=theirs train=FILE$",
        with_hint(MissingStore(tmp_path / "coco" / "theirs")),
    )


def test_an_error_that_another_one_caused_has_its_hint():
    try:
        try:
            raise MissingTables(Path("data/coco"))
        except FileNotFoundError as error:
            raise ValueError(f"no start: {error}") from error
    except ValueError as error:
        told = with_hint(error)
    assert re.fullmatch(
        r"no start: No images.* in data/coco: run python scripts/prepare_data\.py dataset=coco, .*", told
    )
    assert with_hint(ValueError("as it is")) == "as it is"


def test_an_embedding_that_is_not_finite_is_refused_by_its_captions_id(corpus, monkeypatch):
    encoder = CountingEncoder()
    monkeypatch.setattr(encoder, "encode_texts", lambda texts, done: torch.full((len(texts), 4), float("nan")))
    with pytest.raises(ValueError, match="caption '0' is not finite"):
        write_store(corpus, encoder, "counting")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"caption": "  "}, "Empty caption for caption_id '1'"),
        ({"caption": None}, "Empty caption for caption_id '1'"),
        ({"image_row": 5}, "names image_row 5"),
        ({"caption_id": "0"}, "'0' occurs more than once"),
    ],
)
def test_bad_tables_are_refused(tmp_path, change, message):
    captions = [{"caption_id": str(n), "image_row": None, "caption": f"text {n}", "split": "train"} for n in range(2)]
    captions[1] |= change
    with pytest.raises(ValueError, match=message):
        write_tables(tmp_path, [], captions)
