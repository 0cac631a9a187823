"""SynthImgCap's files, made up in the published form, through the command's entry function."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from comparison.prepare_data import prepare
from embedding_space.encoders.load import load_encoder
from embedding_space.store import EmbeddingStore

WORDS = ["a", "dog", "runs", "cat", "sleeps"]
CAPTIONS = {"6000000": [[1, 2, 3]], "6000001": [[1, 4, 5], [2]], "6000002": [[]]}
ENCODER = {"name": "tiny", "model": "tiny-quickgelu", "pretrained": "random"}


def save_features(path, seed: int, places: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    features, image = random.standard_normal((places, 64)), random.standard_normal((1, 24))
    np.savez_compressed(path, features=features.astype(np.float32), g_feature=image.astype(np.float32))


def annotation(image_id: str, split_id: int | None, captions: list[list[int]] | None) -> dict:
    entry: dict = {"image_id": image_id}
    if split_id is not None:
        entry |= {"split_id": split_id, "clipscore": np.float32(0.7)}
    if captions is not None:
        entry["target_ids"] = np.full((len(captions), 5), -1, np.int32)
        entry["tokens_ids"] = np.zeros((len(captions), 5), np.uint32)
        for row, words in enumerate(captions):
            entry["target_ids"][row, : len(words) + 1] = [*words, 0]
            entry["tokens_ids"][row, 1 : len(words) + 1] = words
    return entry


@pytest.fixture
def published(tmp_path, tiny_models):
    """The files in `tmp_path/published`."""
    folder = tmp_path / "published"
    train = []
    for number, (image_id, captions) in enumerate(CAPTIONS.items()):
        save_features(folder / f"img_sp{number % 2}" / f"{image_id}.npz", number)
        train.append(annotation(image_id, number % 2, captions))
    save_features(folder / "img" / "42.npz", 42)
    (folder / "train.pkl").write_bytes(pickle.dumps(train, protocol=4))
    (folder / "test.pkl").write_bytes(pickle.dumps([annotation("42", None, None)], protocol=2))
    (folder / "words.txt").write_text("\n".join(WORDS) + "\n")
    return folder


@pytest.fixture
def run(published, compose, tmp_path):
    """The command, with the options of `published` unless others are given."""

    def run(**changed) -> EmbeddingStore:
        options = {
            "train": f"{published}/train.pkl",
            "test": f"{published}/test.pkl",
            "features": published,
            "vocabulary": f"{published}/words.txt",
            "encoder": "clip_vit_b32",
            "+encoder.device": "cpu",
            "encoder.precision": "fp32",
            **{f"encoder.{key}": value for key, value in ENCODER.items()},
            **changed,
        }
        named = [f"{key}={'null' if value is None else value}" for key, value in options.items()]
        where = ["dataset=tables", "dataset.name=synth", f"dataset.root={tmp_path}/data/synth"]
        return prepare(compose("prepare_data", *where, *named, f"output_dir={tmp_path}/import"))

    return run


def test_features_become_a_store_with_patches(run, published, capsys):
    store, encoder = run(), load_encoder(**ENCODER, device="cpu")
    printed = capsys.readouterr().out
    assert f"{published}/train.pkl: 1 captions are blank and were left out" in printed
    assert "4 images of 24 dimensions, 3 texts of 24 dimensions, 4 patch tokens of 24 dimensions an image" in printed
    assert store.image_ids("train") == list(CAPTIONS) and store.image_ids("test") == ["42"]
    assert store.captions("train") == ["a dog runs", "a cat sleeps", "dog"]
    assert store.pairs("train").tolist() == [0, 1, 1]
    assert torch.allclose(store.texts("train"), encoder.encode_texts(store.captions("train")), atol=1e-3)
    assert store.manifest.encoder == encoder.description
    for split, files in (("train", ["img_sp0/6000000", "img_sp1/6000001", "img_sp0/6000002"]), ("test", ["img/42"])):
        for row, file in enumerate(files):
            with np.load(published / f"{file}.npz") as archive:
                features, image = torch.from_numpy(archive["features"]), torch.from_numpy(archive["g_feature"])
            assert torch.allclose(store.images(split)[row], F.normalize(image[0], dim=0), atol=1e-3)
            assert torch.allclose(store.patch_features(split)[row], features, rtol=1e-3, atol=1e-3)
            made = F.normalize(encoder.patch_head(features[None])[0], dim=-1)
            assert torch.allclose(store.patches(split)[row], made, atol=2e-3)
    assert run().hash == store.hash


def test_a_damaged_archive_stops_the_import_which_then_goes_on(run, published):
    path = published / "img_sp1" / "6000001.npz"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"6000001\.npz is refused as a \.npz archive"):
        run()
    np.savez(path, features=np.zeros((4, 64), np.float32))
    with pytest.raises(ValueError, match=r"6000001\.npz .* has no array 'g_feature', only features"):
        run()
    np.savez(path, features=np.zeros((4, 64), int), g_feature=np.zeros((1, 24), np.float32))
    with pytest.raises(ValueError, match=r"6000001\.npz is refused: its arrays are int64 and float32"):
        run()
    np.savez(path, features=np.full((4, 64), np.nan), g_feature=np.zeros((1, 24)))
    with pytest.raises(ValueError, match=r"6000001\.npz is refused: its features are not finite"):
        run()
    save_features(path, 1, places=9)
    with pytest.raises(ValueError, match=r"6000001\.npz has features \(9, 64\) .* gives \(4, 64\) and \(1, 24\)"):
        run()
    save_features(path, 1)
    assert len(run().images("train")) == 3
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*6000001\.npz of the image 6000001 in .*train\.pkl"):
        run()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "it is no list of annotations"),
        ([], "it is no list of annotations"),
        ([{"image": "1"}], "annotation 0 has no image_id"),
        ([{"image_id": "../1"}], r"annotation 0 has the image_id '\.\./1'"),
        ([{"image_id": "1", "split_id": "0/../.."}], r"annotation 0 has the split_id"),
        ([annotation("42", None, None) | {"target_ids": [1, 2]}], "target_ids that are no table"),
        ([annotation("42", None, [[1, 99]])], r"has the word 99, and the vocabulary 5 words"),
    ],
)
def test_odd_annotations_are_refused(run, published, entries, message):
    (published / "odd.pkl").write_bytes(pickle.dumps(entries, protocol=4))
    with pytest.raises(ValueError, match=rf"odd\.pkl .*{message}"):
        run(train=f"{published}/odd.pkl")


def test_what_is_missing_is_named(run, published, tmp_path):
    with pytest.raises(ValueError, match=r"train\.pkl has captions as numbers of words: .* vocabulary=FILE"):
        run(vocabulary=None)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt \(option vocabulary\)"):
        run(vocabulary=f"{tmp_path}/nowhere.txt")
    with pytest.raises(ValueError, match="Name at least one annotation file"):
        run(train=None, test=None)
    with pytest.raises(ValueError, match=r"encoder\.pretrained=openai"):
        run(**{"encoder.pretrained": "openai"})
