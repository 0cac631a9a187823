"""Files as C³, Diffusion Bridge and CapDec write them, made up small: what is read, refused, stored and trained on."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from embedding_space.encoders.load import load_encoder
from embedding_space.peers.formats import RowFile, read_mean, read_split
from embedding_space.peers.importer import compare_means, import_embeddings
from embedding_space.store import EmbeddingStore
from embedding_space.tables import read_tables, write_tables

DIM = 16
WORDS = ("dog", "cat", "boat", "tree", "car", "bird", "house", "star")


def peer_split(start: int, images: int) -> dict:
    """Images `start`... with two captions each; embeddings are of any length, in half precision, as OpenAI's CLIP's."""
    random = torch.Generator().manual_seed(start)
    row = lambda offset: (3 * torch.randn(1, DIM, generator=random) + offset).half()  # noqa: E731
    numbers = range(start, start + images)
    # Ids descend: their order is the file's, not the numbers'.
    return {
        "images": {n: {"img_path": f"./data/coco/val2014/{n}.jpg", "embed": row(2)} for n in reversed(numbers)},
        "captions": {
            1000 + 2 * n + k: {"caption": f"a {WORDS[n % 8]} and a {WORDS[(n + k) % 7]}", "img_id": n, "embed": row(0)}
            for n in numbers
            for k in (1, 0)
        },
    }


def dump(path: Path, content) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def unit(record: dict) -> torch.Tensor:
    return F.normalize(record["embed"].float(), dim=-1)[0]


@pytest.fixture
def splits():
    return {"train": peer_split(0, 12), "val": peer_split(100, 4), "test": peer_split(200, 4)}


@pytest.fixture
def files(splits, tmp_path):
    """The splits' files, and the means of train as C³ computes them."""
    paths = {split: dump(tmp_path / f"oscar_split_ViT-B_32_{split}.pkl", content) for split, content in splits.items()}
    for kind, records in (("text", "captions"), ("image", "images")):
        mean = torch.stack([unit(record) for record in splits["train"][records].values()]).mean(dim=0, keepdim=True)
        paths[f"{kind}_mean"] = dump(tmp_path / f"normalized_{kind}_embed_mean.pkl", mean)
    return paths


def three(files: dict[str, Path]) -> dict[str, Path]:
    return {split: files[split] for split in ("train", "val", "test")}


def test_rows_ids_captions_and_their_order_survive(splits, files, tmp_path):
    store = import_embeddings(tmp_path / "data" / "coco", "ViT-B-32", three(files))
    for split, content in splits.items():
        images, captions = content["images"], content["captions"]
        assert store.image_ids(split) == [str(image_id) for image_id in images]
        assert store.captions(split) == [caption["caption"] for caption in captions.values()]
        rows = store.tables.caption_rows(split)
        assert store.tables.captions["caption_id"].take(rows).to_pylist() == [
            str(caption_id) for caption_id in captions
        ]
        whose = [store.image_ids(split)[position] for position in store.pairs(split)]
        assert whose == [str(caption["img_id"]) for caption in captions.values()]
        for ours, records in ((store.images(split), images), (store.texts(split), captions)):
            torch.testing.assert_close(ours, torch.stack([unit(r) for r in records.values()]), atol=1e-3, rtol=0)
    assert store.tables.images["path"][0].as_py() == "data/coco/val2014/11.jpg"
    assert not list((tmp_path / "data" / "coco").glob("*.partial"))


def test_torch_save_files_give_the_same_store(splits, files, tmp_path):
    saved = {split: tmp_path / f"{split}.pt" for split in splits}
    for split, path in saved.items():
        torch.save(splits[split], path)
    stores = [import_embeddings(tmp_path / name, "x", which) for name, which in (("a", three(files)), ("b", saved))]
    for split in splits:
        assert torch.equal(stores[0].texts(split), stores[1].texts(split))
        assert torch.equal(stores[0].images(split), stores[1].images(split))


def test_means_agree_with_the_peers_or_are_refused(files, tmp_path):
    store = import_embeddings(tmp_path / "coco", "x", three(files))
    cosines = compare_means(store, {"text": files["text_mean"], "image": files["image_mean"]})
    assert all(cosine > 0.99999 for cosine in cosines.values())
    torch.testing.assert_close(store.mean("text"), read_mean(files["text_mean"]), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="is not the text mean of these embeddings"):
        compare_means(store, {"text": files["image_mean"]})
    with pytest.raises(ValueError, match=r"has 3 dimensions, .* has 16"):
        compare_means(store, {"text": dump(tmp_path / "other.pkl", torch.ones(3))})
    for wrong in (torch.ones(2, 8), torch.tensor(1.0), torch.ones(1, 16, dtype=torch.int64), {"mean": torch.ones(16)}):
        with pytest.raises(ValueError, match=r"wrong\.pkl is no mean of embeddings"):
            read_mean(dump(tmp_path / "wrong.pkl", wrong))


def test_a_second_import_reuses_the_store_and_other_files_are_refused(files, tmp_path, monkeypatch):
    root = tmp_path / "coco"
    store = import_embeddings(root, "x", three(files))
    monkeypatch.setattr("embedding_space.peers.importer.read_split", lambda *_: pytest.fail("read again"))
    assert import_embeddings(root, "x", three(files)).hash == store.hash
    with pytest.raises(ValueError, match="holds other embeddings"):
        import_embeddings(root, "x", {"train": files["train"]})
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"holds embeddings .* of other tables"):
        import_embeddings(root, "y", {"train": files["train"]})
    assert EmbeddingStore(root / "x").texts("test").shape == (8, DIM)
    # The same captions from another encoder may stand beside them.
    assert import_embeddings(root, "y", three(files)).tables.hash == store.tables.hash


def test_blank_captions_are_left_out_and_counted_and_all_else_keeps_its_rows(splits, files, tmp_path, capsys):
    captions = splits["train"]["captions"]
    for number, (key, blank) in enumerate(zip(list(captions)[3:5], ("", " \n"), strict=True)):
        captions[key] |= {"caption": blank, "embed": torch.zeros(1, DIM) if number else captions[key]["embed"]}
    dump(files["train"], splits["train"])
    store = import_embeddings(tmp_path / "coco", "x", three(files))
    assert f"{files['train']}: 2 captions are blank and were left out" in capsys.readouterr().out
    kept = [record for record in captions.values() if record["caption"].strip()]
    assert len(kept) == 22 and store.captions("train") == [record["caption"] for record in kept]
    torch.testing.assert_close(store.texts("train"), torch.stack([unit(r) for r in kept]), atol=1e-3, rtol=0)
    content = capdec()
    content["captions"][2]["caption"] = content["captions"][3]["caption"] = " "  # both of one image, which stays
    store = import_embeddings(tmp_path / "a", "x", {"train": dump(tmp_path / "a.pkl", content)})
    assert len(store.image_ids("train")) == 3 and store.pairs("train").tolist() == [0, 0, 2, 2]
    own = content["clip_embedding_text_dave"][[0, 1, 4, 5]]
    torch.testing.assert_close(store.texts("train"), F.normalize(own, dim=-1), atol=1e-3, rtol=0)


def test_tables_of_another_source_are_not_overwritten_though_nothing_was_encoded_yet(files, tmp_path, monkeypatch):
    root = tmp_path / "coco"
    before = write_tables(root, [], [{"caption_id": "0", "image_row": None, "caption": "mine", "split": "train"}])
    with pytest.raises(ValueError, match=r"coco holds other tables .*: choose another dataset\.root=.*or delete"):
        import_embeddings(root, "x", three(files))
    assert read_tables(root).hash == before.hash
    with monkeypatch.context() as patched:  # an import that is cut off between its tables and its rows goes on
        patched.setattr("embedding_space.peers.importer.write_store", lambda *_: pytest.fail("cut off"))
        with pytest.raises(pytest.fail.Exception, match="cut off"):
            import_embeddings(tmp_path / "new", "x", three(files))
    assert import_embeddings(tmp_path / "new", "x", three(files)).tables.hash == read_tables(tmp_path / "new").hash


@pytest.mark.parametrize("kind", ["images", "captions"])
def test_splits_that_share_ids_are_refused(splits, files, tmp_path, kind):
    shared = splits["test"]
    key, record = next(iter(splits["train"][kind].items()))
    shared[kind][key] = record | ({"img_id": 200} if kind == "captions" else {})
    dump(files["test"], shared)
    with pytest.raises(ValueError, match=f"{kind[:-1]}_id '{key}' occurs more than once .*split train and test"):
        import_embeddings(tmp_path / "coco", "x", three(files))
    assert not list((tmp_path / "coco").iterdir())


def change(content: dict, kind: str, **values) -> dict:
    record = next(iter(content[kind].values()))
    for key, value in values.items():
        if value is None:
            del record[key]
        else:
            record[key] = value
    return content


WRONG = {
    "image 11 has no proper img_path; there is nothing": lambda c: change(c, "images", img_path=None),
    "image 11 has no proper img_path; there is a int": lambda c: change(c, "images", img_path=3),
    "image 11 has no embedding of one row .* nothing": lambda c: change(c, "images", embed=None),
    "image 11 has no embedding of one row": lambda c: change(c, "images", embed=torch.ones(2, DIM)),
    "no row of an embedding": lambda c: change(c, "images", embed=torch.ones(1, 1, DIM)),
    "torch.int64 is no row": lambda c: change(c, "images", embed=torch.ones(1, DIM, dtype=torch.int64)),
    "Embeddings of 16 and of 8 dimensions": lambda c: change(c, "captions", embed=torch.ones(1, 8)),
    "caption 1001 is zero or not finite": lambda c: change(c, "captions", embed=torch.zeros(1, DIM)),
    "image 11 is zero or not finite": lambda c: change(c, "images", embed=torch.full((1, DIM), torch.nan)),
    "caption 1001 belongs to image 77, which is not": lambda c: change(c, "captions", img_id=77),
    "caption 1001 has no proper img_id": lambda c: change(c, "captions", img_id=None),
    "caption 1001 has no proper caption": lambda c: change(c, "captions", caption=None),
    "the file has no proper captions": lambda c: {"images": c["images"]},
    "a dict with the keys 'model'": lambda c: {"model": 1},
    "it is a list": lambda c: [c],
}


@pytest.mark.parametrize("message", WRONG)
def test_files_that_lack_something_are_refused_in_a_sentence(splits, tmp_path, message):
    path = dump(tmp_path / "peer.pkl", WRONG[message](splits["train"]))
    with RowFile(tmp_path / "rows") as rows, pytest.raises(ValueError, match=message) as caught:
        read_split(path, rows, "train")
    assert str(caught.value).startswith(str(path))
    assert not (tmp_path / "rows").exists()


def test_one_number_seen_again_and_again_is_no_embedding(tmp_path):
    with RowFile(tmp_path / "rows") as rows, pytest.raises(ValueError, match="again and again"):
        rows.add(torch.ones(1).expand(10**9, 512))


def test_a_tensor_without_numbers_is_refused(splits, tmp_path):
    path = tmp_path / "meta.pt"
    torch.save(change(splits["train"], "images", embed=torch.empty(1, DIM, device="meta")), path)
    with RowFile(tmp_path / "rows") as rows, pytest.raises(ValueError, match="device meta has no numbers"):
        read_split(path, rows, "train")


def test_reading_holds_ids_and_captions_but_no_embeddings(tmp_path):
    content = peer_split(0, 100)
    for record in content["captions"].values():
        record["embed"] = torch.randn(1, 4096)
    for record in content["images"].values():
        record["embed"] = torch.randn(1, 4096)
    path = dump(tmp_path / "wide.pkl", content)
    peaks = []
    for _ in range(2):  # the first also imports
        with RowFile(tmp_path / "rows") as rows:
            tracemalloc.start()
            read = read_split(path, rows, "train")
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert rows.count == 300 and len(read.captions) == 200
    assert peaks[1] < path.stat().st_size / 5


def capdec(pictures: bool = True) -> dict:
    texts, images = torch.randn(6, DIM), torch.randn(6, DIM).half()
    return {
        "captions": [{"caption": f"text {n}", "image_id": f"{n // 2:012d}", "clip_embedding": n} for n in range(6)],
        "clip_embedding_text_dave": texts,
        "clip_embedding": images if pictures else torch.cat([torch.tensor([])] * 6),
    }


def test_capdec_files_have_a_row_a_caption(tmp_path):
    content = capdec()
    store = import_embeddings(tmp_path / "a", "x", {"train": dump(tmp_path / "a.pkl", content)})
    assert store.image_ids("train") == [f"{n:012d}" for n in range(3)]
    assert store.pairs("train").tolist() == [0, 0, 1, 1, 2, 2]
    texts, images = content["clip_embedding_text_dave"], content["clip_embedding"][::2].float()
    torch.testing.assert_close(store.texts("train"), F.normalize(texts, dim=-1), atol=1e-3, rtol=0)
    torch.testing.assert_close(store.images("train"), F.normalize(images, dim=-1), atol=1e-3, rtol=0)


def test_half_characters_in_captions_are_replaced_and_counted(tmp_path, capsys):
    content = capdec()
    content["captions"][1]["caption"] = "a \ud83d dog"
    store = import_embeddings(tmp_path / "a", "x", {"train": dump(tmp_path / "a.pkl", content)})
    assert store.captions("train")[1] == "a \ufffd dog"
    assert "a.pkl: captions in which half a character became U+FFFD: 1" in capsys.readouterr().out


def test_capdec_files_without_images_are_text_alone_and_without_texts_are_refused(tmp_path):
    store = import_embeddings(tmp_path / "a", "x", {"train": dump(tmp_path / "a.pkl", capdec(pictures=False))})
    assert store.manifest.rows == {"texts": 6} and not store.has_mean("image")
    for change, message in (
        ({"clip_embedding_text_dave": 0}, "has no text embeddings"),
        ({"clip_embedding": torch.randn(4, DIM)}, "6 captions, 6 text embeddings and 4 image embeddings"),
        ({"clip_embedding": [[1.0, 2.0], [1.0]] * 3}, "its clip_embedding is no tensor, array or list of rows"),
        ({"clip_embedding": ["a"] * 6}, "its clip_embedding is no tensor, array or list of rows"),
        ({"captions": [3] * 6}, "caption 0 has no proper caption"),
    ):
        with pytest.raises(ValueError, match=message):
            import_embeddings(tmp_path / "b", "x", {"train": dump(tmp_path / "b.pkl", capdec() | change)})


def test_nothing_new_can_be_encoded_unless_the_encoder_is_named(files, tmp_path, monkeypatch):
    store = import_embeddings(tmp_path / "a", "x", three(files))
    with pytest.raises(ValueError, match="do not say which encoder made them"):
        load_encoder(**store.manifest.encoder)
    store = import_embeddings(tmp_path / "b", "x", three(files), "ViT-B-32-quickgelu", "openai")
    assert store.manifest.encoder["files"]["val"]["file"] == "oscar_split_ViT-B_32_val.pkl"
    asked = {}
    monkeypatch.setattr(
        "embedding_space.encoders.open_clip_encoder.OpenClipEncoder.__init__",
        lambda self, name, **options: asked.update(options) or setattr(self, "description", {}),
    )
    load_encoder(**store.manifest.encoder, batch_size=8)
    assert asked == {"model": "ViT-B-32-quickgelu", "pretrained": "openai", "batch_size": 8}
