"""NumPy arrays in other people's pickles, of every protocol: read as tensors, or refused."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from embedding_space.peers.importer import import_embeddings
from embedding_space.peers.pickled_numpy import KINDS
from embedding_space.peers.unpickle import load_plain

REMEDY = "have it saved again with pickle.dump(..., protocol=4) and torch tensors"


class Call:
    """Pickles as a call of `function`, and what is built from `state`."""

    def __init__(self, function, *args, state=None):
        self.parts = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.parts


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pickles") / "peer.pkl"


def loaded(path: Path, content, protocol: int = 4):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return load_plain(path)


ARRAYS = st.sampled_from(KINDS).flatmap(
    lambda kind: st.sampled_from("<>").flatmap(
        lambda order: arrays(np.dtype(kind).newbyteorder(order), array_shapes(min_dims=0, max_dims=3, min_side=0))
    )
)


@settings(deadline=None, max_examples=150)
@example(array=np.array(98, np.int8), protocol=2, fortran=False, old=False)  # its one byte is _reconstruct's b"b"
@given(array=ARRAYS, protocol=st.integers(2, 5), fortran=st.booleans(), old=st.booleans())
def test_every_array_of_plain_numbers_comes_back(path, array, protocol, fortran, old):
    array = np.asfortranarray(array) if fortran and array.ndim else array
    content = pickle.dumps({"embed": array, "again": [array], "after": "text"}, protocol=protocol)
    if old and protocol < 4:  # NumPy 1 names its rooms so; later protocols write lengths
        content = content.replace(b"numpy._core.", b"numpy.core.")
    path.write_bytes(content)
    read = load_plain(path)
    assert read["embed"] is read["again"][0] and read["after"] == "text"
    assert read["embed"].numpy().dtype == array.dtype.newbyteorder("=")
    assert np.array_equal(read["embed"].numpy(), array, equal_nan=array.dtype.kind == "f")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numbers_and_tensors_come_back_in_every_protocol(path, protocol):
    content = {"id": np.int64(7), "score": np.float32(0.5), "tensors": [torch.ones(1, 3), torch.arange(4.0)]}
    read = loaded(path, content, protocol)
    assert read["id"] == 7 and type(read["id"]) is int and read["score"] == 0.5
    assert [tensor.tolist() for tensor in read["tensors"]] == [[[1, 1, 1]], [0, 1, 2, 3]]


def test_a_file_of_protocol_2_is_not_held_in_memory(path):
    path.write_bytes(pickle.dumps([np.ones((1, 20_000), np.float32) * n for n in range(60)], protocol=2))
    peaks = []
    for _ in range(2):
        tracemalloc.start()
        load_plain(path, lambda tensor: None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < path.stat().st_size / 3


CORE = np._core if hasattr(np, "_core") else np.core  # NumPy 1's name of it
RECONSTRUCT, FROM_BUFFER = CORE.multiarray._reconstruct, CORE.numeric._frombuffer
F4 = np.dtype("f4")


@pytest.mark.parametrize(
    "content",
    [
        np.array([{}, "a"], dtype=object),
        np.array(["a dog"]),
        np.array([1 + 2j]),
        np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        np.ma.array([1.0]),
        np.random.default_rng(0),
        Call(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (3,), F4, False, b"1234")),
        Call(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (10**12,), F4, False, b"1234")),
        Call(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (-1,), F4, False, b"1234")),
        Call(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (1,), "f4", False, b"1234")),
        Call(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (1,), F4, False, [1.0])),
        Call(RECONSTRUCT, np.ndarray, (10**12,), b"b"),
        Call(FROM_BUFFER, b"1234", F4, (2,), "C"),
        Call(FROM_BUFFER, b"1234", F4, (1,), "K"),
        Call(FROM_BUFFER, [], F4, (0,), "C"),
        Call(CORE.multiarray.scalar, F4, b"12"),
    ],
    ids=lambda content: type(content).__name__,  # the same in every process
)
def test_arrays_of_anything_else_and_with_odd_parts_are_refused(path, content):
    for inside in (content, {"embed": [content]}):
        path.write_bytes(pickle.dumps(inside))
        with pytest.raises(
            ValueError, match=r"peer\.pkl is refused: .*have it saved again with pickle\.dump"
        ) as caught:
            load_plain(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", [2, 4])
def test_no_call_is_made_from_within_an_array(path, tmp_path, protocol):
    evil = Call(os.mkdir, str(tmp_path / "ran"))
    for content in (
        np.array([evil], dtype=object),
        Call(RECONSTRUCT, evil, (0,), b"b"),
        Call(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (1,), evil, False, b"1234")),
        Call(RECONSTRUCT, np.ndarray, (0,), b"b", state=evil),
        Call(FROM_BUFFER, evil, F4, (1,), "C"),
    ):
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        with pytest.raises(ValueError, match="is refused: "):
            load_plain(path)
        assert not (tmp_path / "ran").exists()


def test_one_text_encoded_again_and_again_does_not_fill_the_disk(path):
    encode, text = b"c_codecs\nencode\nq\x00", b"X" + (400).to_bytes(4, "little") + b"a" * 400
    filler = b"".join(b"Nq" + bytes([n]) for n in range(2, 60))  # so that the memo still holds the text
    call = b"h\x00h\x01X\x06\x00\x00\x00latin1\x86R"
    path.write_bytes(b"\x80\x02](" + encode + text + b"q\x01" + filler + call * 200 + b"e.")
    with pytest.raises(ValueError, match="is refused: it has more bytes of numbers than it is long"):
        load_plain(path)


def npy(descr: str, length: int) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': ({length},), }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"1234"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(pickle.dumps([1]), mtime=0), "compressed by gzip: unpack it first"),
        (pickle.dumps({"embed": [1.0]}, protocol=0), REMEDY),
        (pickle.dumps({"embed": Path("x")}), REMEDY),
        (b"\x80\x02U\x03abc.", REMEDY),  # a text of Python 2
        (
            b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }" + b" " * 62 + b"\n",
            "refused",
        ),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }\n", "refused"),
    ],
    ids=["gzip", "protocol 0", "a path", "Python 2", "objects", "no end"],
)
def test_what_is_not_read_is_refused_with_the_remedy(path, content, words):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"peer\.pkl") as caught:
        load_plain(path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def archive() -> bytes:
    file = io.BytesIO()
    np.savez(file, images=np.ones((2, 4)))
    return file.getvalue()


def test_arrays_without_ids_and_captions_are_told_what_is_missing(tmp_path):
    np.save(tmp_path / "img_emb_0.npy", np.ones((4, 8), np.float16))
    assert load_plain(tmp_path / "img_emb_0.npy").shape == (4, 8)
    with pytest.raises(ValueError, match=r"img_emb_0\.npy holds embeddings without ids and captions: put them"):
        import_embeddings(tmp_path / "data", "x", {"train": tmp_path / "img_emb_0.npy"})
    (tmp_path / "arrays.npz").write_bytes(archive())
    with pytest.raises(ValueError, match=r"arrays\.npz is refused: it is an archive of NumPy arrays"):
        import_embeddings(tmp_path / "data", "x", {"train": tmp_path / "arrays.npz"})


KINDS_OF_ROWS = {
    "tensors": lambda row: torch.tensor([row]),
    "flat tensors": torch.tensor,
    "arrays": lambda row: np.array([row], np.float32),
    "flat arrays": lambda row: np.array(row),
    "lists": list,
    "lists of lists": lambda row: [list(row)],
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("row", KINDS_OF_ROWS.values(), ids=KINDS_OF_ROWS)
@pytest.mark.parametrize(("image_id", "named"), [(int, str), (str, int), (str, str), (np.int64, int), (int, float)])
def test_rows_and_ids_of_every_kind_give_the_same_store(tmp_path, protocol, row, image_id, named):
    rows = np.random.default_rng(0).normal(size=(9, 4)).round(2).tolist()
    content = {
        "images": {image_id(n): {"img_path": f"{n}.jpg", "embed": row(rows[n])} for n in range(3)},
        "captions": {
            str(n): {"caption": f"text {n}", "img_id": named(n // 2), "embed": row(rows[3 + n])} for n in range(6)
        },
    }
    (tmp_path / "peer.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    store = import_embeddings(tmp_path / "data", "x", {"train": tmp_path / "peer.pkl"})
    assert store.image_ids("train") == ["0", "1", "2"] and store.pairs("train").tolist() == [0, 0, 1, 1, 2, 2]
    wanted = torch.nn.functional.normalize(torch.tensor(rows), dim=-1)
    torch.testing.assert_close(torch.cat([store.images("train"), store.texts("train")]), wanted, atol=1e-3, rtol=0)


def test_an_image_that_stands_as_a_number_and_as_text_is_refused(tmp_path):
    image = {"img_path": "1.jpg", "embed": [1.0, 2.0]}
    (tmp_path / "peer.pkl").write_bytes(pickle.dumps({"images": {1: image, "1": image}, "captions": {}}))
    with pytest.raises(ValueError, match="image 1 stands twice among its images, as a number and as text"):
        import_embeddings(tmp_path / "data", "x", {"train": tmp_path / "peer.pkl"})


@pytest.mark.parametrize("rows", [[torch.ones(1, 4)] * 2, [np.ones(4)] * 2, [[1.0] * 4] * 2, np.ones((2, 4))])
def test_capdecs_rows_may_be_a_list(tmp_path, rows):
    captions = [{"caption": f"text {n}", "image_id": n} for n in range(2)]
    content = {"captions": captions, "clip_embedding_text_dave": rows, "clip_embedding": []}
    (tmp_path / "peer.pkl").write_bytes(pickle.dumps(content))
    store = import_embeddings(tmp_path / "data", "x", {"train": tmp_path / "peer.pkl"})
    assert store.texts("train").shape == (2, 4)
