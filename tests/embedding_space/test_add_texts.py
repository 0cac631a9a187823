"""Stores with the texts of some splits alone, and the others' texts, added later."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from common.hints import with_hint
from embedding_space import write_store as prepare
from embedding_space.encoders.base import Encoder
from embedding_space.store import EmbeddingStore
from embedding_space.tables import write_tables

SPLITS = ["train"] * 7 + ["pairs"] * 9 + ["val"] * 3 + ["Test"] * 2  # shards of 4: rows 4-7 and 16-19 are of two splits

HASH_OF_THE_WHOLE = "441ef909dc58aeb693114f455de5d7b0e6957d944ef30dbd48289789212ed6b5"  # before there were parts


class LetterEncoder(Encoder):
    """A text is its letters' counts; keeps what it encoded, and may be interrupted."""

    def __init__(self, fail_after: int | None = None, name: str = "letters"):
        super().__init__(device="cpu")
        self.dims, self.description = {"images": 12, "texts": 12}, {"name": name}
        self.encoded, self.fail_after = [], fail_after

    def encode_texts(self, texts, done=lambda count: None):
        if self.fail_after is not None and len(self.encoded) >= self.fail_after:
            raise KeyboardInterrupt
        self.encoded += texts
        return torch.tensor([[1.0 + text.count(letter) for letter in "0123456789no"] for text in texts])

    def cut_texts(self, texts):
        return sum(text.endswith("0") for text in texts)


def interrupted(*arguments, **options):
    raise KeyboardInterrupt


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A data set of 21 texts; stores are written in shards of four rows."""
    monkeypatch.setattr(prepare, "SHARD_ROWS", 4)
    captions = (
        {"caption_id": str(n), "image_row": None, "caption": f"no {n}", "split": s} for n, s in enumerate(SPLITS)
    )
    write_tables(tmp_path / "data", [], captions)
    return tmp_path / "data"


def write(root: Path, encoder: Encoder, *text_splits: str, name: str = "letters") -> EmbeddingStore:
    return prepare.write_store(root, encoder, name, "train", None, text_splits=text_splits or None)


def test_a_part_of_the_texts_is_encoded_to_the_bytes_of_the_whole(root):
    whole = write(root, LetterEncoder(), name="whole")
    part = write(root, encoder := LetterEncoder(), "train", "test")
    assert encoder.encoded == [f"no {n}" for n in (*range(8), *range(16, 21))]  # whole shards
    assert part.manifest.text_splits == ["test", "train"] and part.manifest.cut_texts == 2
    for split in ("train", "test", "train+test"):
        assert torch.equal(part.texts(split), whole.texts(split)) and part.captions(split) == whole.captions(split)
    assert torch.equal(part.mean("text"), whole.mean("text"))
    assert not np.load(part.path / "texts.npy")[8:16].any()
    assert part.captions("pairs") == whole.captions("pairs")  # tables are whole
    assert part.hash != whole.hash
    assert whole.hash == HASH_OF_THE_WHOLE and "text_splits" not in whole.manifest.to_json()


@pytest.mark.parametrize("split", ["pairs", "val", "test+val"])
def test_readers_of_other_texts_are_refused_with_the_command_that_adds_them(root, monkeypatch, split):
    monkeypatch.setenv("DIFFUSION_BRIDGE_DATA", str(root.parent))
    part = write(root, LetterEncoder(), "train", "test")
    with pytest.raises(ValueError, match=r"has embeddings of the texts of test, train alone, not of split '") as caught:
        part.texts(split)
    message = with_hint(caught.value)
    assert re.search(
        rf": run python scripts/prepare_data\.py dataset=tables .* text_splits={re.escape(split)}", message
    )
    encoder = LetterEncoder()
    added = write(root, encoder, message.partition("text_splits=")[2].split()[0])
    assert len(added.texts(split)) == len(added.captions(split))


def test_texts_are_added_without_encoding_again_and_the_hash_stays(root):
    whole = write(root, LetterEncoder(), name="whole")
    before = write(root, LetterEncoder(), "train")
    rows, facts = np.load(before.path / "texts.npy"), (before.path / "statistics.safetensors").read_bytes()
    more = write(root, second := LetterEncoder(), "val")
    assert second.encoded == [f"no {n}" for n in range(16, 20)]
    assert more.manifest.text_splits == ["train", "val"] and torch.equal(more.texts("val"), whole.texts("val"))
    complete = write(root, third := LetterEncoder())
    assert third.encoded == [f"no {n}" for n in (*range(8, 16), 20)]
    assert (complete.path / "texts.npy").read_bytes() == (whole.path / "texts.npy").read_bytes()
    assert (complete.path / "statistics.safetensors").read_bytes() == facts
    assert np.array_equal(np.load(complete.path / "texts.npy")[:8], rows[:8])
    assert before.hash == more.hash == complete.hash
    assert complete.manifest.text_splits is None and complete.manifest.cut_texts == whole.manifest.cut_texts
    for wanted in ([], ["train"], ["pairs"]):  # a whole store will do for any part
        assert write(root, last := LetterEncoder(), *wanted).hash == complete.hash and not last.encoded
    assert not list(root.glob("*.partial"))


def test_other_embeddings_have_another_hash(root):
    store = write(root, LetterEncoder(), "train", "val")

    class Shifted(LetterEncoder):
        def encode_texts(self, texts, done=lambda count: None):
            return super().encode_texts(texts) + torch.arange(12)

    assert write(root, Shifted(), "train", "val", name="shifted").hash != store.hash
    assert write(root, LetterEncoder(), "val", "train", name="again").hash == store.hash
    with pytest.raises(ValueError, match="holds other embeddings"):
        write(root, LetterEncoder(name="others"), "pairs")


def test_an_interrupted_addition_leaves_the_store_and_goes_on(root):
    before = write(root, LetterEncoder(), "train")
    content = {path.name: path.read_bytes() for path in before.path.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        write(root, LetterEncoder(fail_after=8))
    assert {path.name: path.read_bytes() for path in before.path.iterdir()} == content
    complete = write(root, second := LetterEncoder())
    assert len(second.encoded) == 21 - 8 - 8
    assert torch.equal(complete.texts("pairs"), write(root, LetterEncoder(), name="whole").texts("pairs"))


def test_a_crash_between_array_and_manifest_leaves_a_store_that_readers_understand(root, monkeypatch):
    before = write(root, LetterEncoder(), "train")

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("embedding_space.add_texts.write_json", crash)
        with pytest.raises(KeyboardInterrupt):
            write(root, LetterEncoder())
    store = EmbeddingStore(before.path)
    assert torch.equal(store.texts("train"), before.texts("train"))
    with pytest.raises(ValueError, match="not of split 'pairs'"):
        store.texts("pairs")
    complete = write(root, again := LetterEncoder())
    assert not again.encoded and len(complete.texts("pairs")) == 9


def test_an_interrupted_encoding_goes_on_with_other_splits(root):
    with pytest.raises(KeyboardInterrupt):
        write(root, LetterEncoder(fail_after=8), "train", "val")
    write(root, second := LetterEncoder())
    assert len(second.encoded) == 21 - 8


@pytest.mark.parametrize(
    ("text_splits", "message"),
    [
        (["val"], r"text_splits=\['val'\] leave out texts of the split 'train' that is trained on"),
        (["train", "nosplit"], r"text_splits=\['train', 'nosplit'\]: .*has no captions of split 'nosplit'; its splits"),
        (["train", ""], "is no split"),
        ([], r"text_splits=\[\] must name at least one split, or be null"),
    ],
)
def test_bad_choices_are_refused_before_anything_is_encoded(root, text_splits, message):
    encoder = LetterEncoder()
    with pytest.raises(ValueError, match=message):
        prepare.write_store(root, encoder, "letters", "train", None, text_splits=text_splits)
    assert not encoder.encoded and not (root / "letters.partial").exists()


def test_a_manifest_says_which_texts_it_has(root):
    store = write(root, LetterEncoder(), "train", "val+test")
    assert json.loads((store.path / "manifest.json").read_text())["text_splits"] == ["test", "train", "val"]


def test_texts_that_were_cut_are_counted_after_an_interruption_before_the_manifest(root, monkeypatch):
    whole = write(root, LetterEncoder(), name="whole")
    write(root, LetterEncoder(), "train")

    with monkeypatch.context() as patched:
        patched.setattr("embedding_space.add_texts.write_json", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(root, LetterEncoder())
    complete = write(root, again := LetterEncoder())
    assert not again.encoded and complete.manifest.cut_texts == whole.manifest.cut_texts


def test_texts_that_were_cut_are_counted_once_after_an_interruption_behind_the_manifest(root, monkeypatch):
    whole = write(root, LetterEncoder(), name="whole")
    write(root, LetterEncoder(), "train")

    with monkeypatch.context() as patched:
        patched.setattr("embedding_space.add_texts.shutil.rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(root, LetterEncoder(), "train", "pairs")
    assert write(root, LetterEncoder()).manifest.cut_texts == whole.manifest.cut_texts
    assert not list(root.glob("*.partial"))
