"""What load_plain reads, and what it refuses: files that would run code, fill the memory or are damaged."""

from __future__ import annotations

import builtins
import operator
import os
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from embedding_space.peers.unpickle import LEGACY, load_plain

pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated", "ignore:Detected pickle protocol")

REBUILD, LOAD, ODICT = "torch._utils _rebuild_tensor_v2", "torch.storage _load_from_bytes", "collections OrderedDict"


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def storage_bytes(tensor: torch.Tensor) -> bytes:
    """What a plain pickle keeps of the tensor's numbers."""
    return tensor.storage().__reduce__()[1][0]


def raw(*parts: bytes | str) -> bytes:
    """A hand-written pickle: opcodes as they are, "module name" as a GLOBAL."""
    texts = [part if isinstance(part, bytes) else b"c%s\n%s\n" % tuple(part.encode().split()) for part in parts]
    return b"\x80\x03" + b"".join(texts) + b"."


@pytest.fixture
def refused(tmp_path):
    """Write a file, see it refused in one sentence that names it and what it asked for; returns that sentence."""

    def refuse(content: bytes, *words: str) -> str:
        path = tmp_path / "oscar_split.pkl"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} is refused: .*$") as caught:
            load_plain(path)
        assert "\n" not in str(caught.value)
        assert all(word in str(caught.value) for word in words), str(caught.value)
        return str(caught.value)

    return refuse


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int64])
def test_tensors_and_plain_containers_come_back(tmp_path, protocol, dtype):
    matrix = torch.arange(12).reshape(3, 4).to(dtype)
    content = {
        "views": [matrix[1:2], matrix[2], matrix[:, 1], matrix.T, matrix[:0], torch.tensor(3.5)],
        7: ({"long": 2**200, "none": None, "flag": True, "half": 0.5, "text": "ü" * 70_000, "short": -3}, [], ()),
        "ordered": OrderedDict(b=1, a=2),
    }
    path = tmp_path / "plain.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    loaded = load_plain(path)
    for theirs, ours in zip(content["views"], loaded["views"], strict=True):
        torch.testing.assert_close(ours, theirs)
    assert loaded[7] == content[7] and list(loaded["ordered"]) == ["b", "a"]


def test_each_tensor_goes_through_keep_and_takes_its_place(tmp_path):
    path = tmp_path / "many.pkl"
    path.write_bytes(pickle.dumps([torch.full((1, 2), float(n)) for n in range(3)]))
    assert load_plain(path, lambda tensor: tensor.sum().item()) == [0.0, 2.0, 4.0]


def test_tensors_from_a_gpu_come_to_the_cpu(tmp_path):
    path = tmp_path / "mean.pkl"
    on_gpu = storage_bytes(torch.arange(3.0)).replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    storage = Call(torch.storage._load_from_bytes, on_gpu)
    path.write_bytes(
        pickle.dumps(Call(torch._utils._rebuild_tensor_v2, storage, 0, (1, 3), (3, 1), False, OrderedDict()))
    )
    loaded = load_plain(path)
    assert b"cuda" in path.read_bytes() and loaded.device.type == "cpu" and loaded.tolist() == [[0.0, 1.0, 2.0]]


def test_a_tensor_that_stands_twice_is_one(tmp_path):
    path, shared = tmp_path / "shared.pkl", torch.ones(2)
    path.write_bytes(pickle.dumps([shared, shared]))
    first, second = load_plain(path)
    assert first is second


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_save_files_are_read_as_plain_data_or_refused(tmp_path, refused, zipped):
    path = tmp_path / "saved.pt"
    torch.save({"embed": torch.ones(1, 3)}, path, _use_new_zipfile_serialization=zipped)
    torch.testing.assert_close(load_plain(path)["embed"], torch.ones(1, 3))
    marker = tmp_path / "ran"
    torch.save({"embed": Call(os.mkdir, str(marker))}, path, _use_new_zipfile_serialization=zipped)
    refused(path.read_bytes(), "asks for posix.mkdir")
    assert not marker.exists()


def rezipped(path: Path, compression: int) -> bytes:
    """The torch.save file at `path`, its entries compressed anew."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(path.with_suffix(".zip"), "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return path.with_suffix(".zip").read_bytes()


def test_archives_that_unpack_to_more_than_the_file_are_refused(tmp_path, refused):
    path = tmp_path / "saved.pt"
    torch.save({"embed": torch.zeros(1000, 1000)}, path)
    bomb = rezipped(path, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 10_000
    refused(bomb, "entries are compressed")
    numbers = storage_bytes(torch.zeros(4)), bomb
    refused(pickle.dumps([Call(torch.storage._load_from_bytes, part) for part in numbers]), "entries are compressed")
    # Stored entries that share their bytes: each entry of the directory stands three times.
    stored = rezipped(path, zipfile.ZIP_STORED)
    end = len(stored) - 22
    count, size, start = struct.unpack("<HII", stored[end + 10 : end + 20])
    directory = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 3 * count, 3 * count, 3 * size, start, 0)
    refused(stored[:start] + 3 * stored[start:end] + directory, "entries announce 12,")


NESTS = {
    "alone": lambda evil: evil,
    "in a list": lambda evil: [1, [evil]],
    "in a tuple": lambda evil: (evil, 1, 2, 3, 4),
    "as an embedding": lambda evil: {"images": {1: {"img_path": "a.jpg", "embed": evil}}, "captions": {}},
    "as a key": lambda evil: {(1, evil): 2},
    "after tensors": lambda evil: [torch.ones(2), evil],
    "for a storage": lambda evil: Call(torch._utils._rebuild_tensor_v2, evil, 0, (1,), (1,), False, OrderedDict()),
    "for a storage's bytes": lambda evil: Call(torch.storage._load_from_bytes, evil),
    "in a storage's bytes": lambda evil: Call(torch.storage._load_from_bytes, pickle.dumps(evil)),
    "in a storage's bytes, behind torch's own beginning": lambda evil: Call(
        torch.storage._load_from_bytes, LEGACY + pickle.dumps(1001) + pickle.dumps({}) + pickle.dumps(evil)
    ),
    "in a storage's bytes, for torch's own version": lambda evil: Call(
        torch.storage._load_from_bytes, LEGACY + pickle.dumps(evil)
    ),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("nest", NESTS.values(), ids=NESTS)
def test_a_call_hidden_anywhere_is_never_made(tmp_path, refused, nest, protocol):
    marker = tmp_path / "ran"
    refused(pickle.dumps(nest(Call(os.mkdir, str(marker))), protocol=protocol))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (os.system, ("true",)),
        (builtins.eval, ("1",)),
        (builtins.exec, ("1",)),
        (builtins.getattr, (1, "real")),
        (builtins.__import__, ("os",)),
        (builtins.bytearray, (10**12,)),
        (operator.attrgetter, ("x",)),
        (torch.load, ("x",)),
        (torch.hub.load, ("a", "b")),
        (np.dtype, ("f4",)),
        (Path, ("x",)),
        (set, ([1],)),
    ],
)
def test_what_a_file_asks_for_is_named(refused, function, args):
    module = {"os": "posix"}.get(function.__module__, function.__module__) or "builtins"
    for content in (pickle.dumps(Call(function, *args)), pickle.dumps([{"embed": Call(function, *args)}])):
        refused(content, "it asks for ", f"{module}.{function.__qualname__}"[:60], "tensors and plain containers")


def test_names_that_lead_on_from_an_allowed_one_are_not_allowed(refused):
    for module, name in (
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch", "_utils._rebuild_tensor_v2"),
        ("collections", "OrderedDict.fromkeys"),
        ("torch.storage", "_load_from_bytes.__class__"),
        ("torch.storage", "torch.load"),
        ("torch.serialization", "load"),
    ):
        names = b"".join(b"\x8c%c%s" % (len(text), text.encode()) for text in (module, name))
        refused(b"\x80\x04" + names + b"\x93.", f"{module}.{name}")
    assert "\\x1b" in refused(raw("posix \x1b[31msystem"), "posix.")  # printed as it is, it would colour the terminal


@pytest.mark.parametrize(
    "content",
    [
        raw(b"}}b"),  # BUILD: __setstate__ or __dict__
        raw(ODICT, b")R", b"}X\x01\x00\x00\x00ak\x01sb"),  # BUILD on what an allowed call gave
        raw(ODICT, b")\x81"),  # NEWOBJ
        raw(ODICT, b")}\x92"),  # NEWOBJ_EX
        b"(S'true'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'true'\no.",  # OBJ
        raw(b"\x82\x01"),  # EXT1
        raw(b"Pstorage\n"),  # PERSID
        raw(b"K\x01Q"),  # BINPERSID
        b"\x80\x05\x97.",  # NEXT_BUFFER
        b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.",  # BYTEARRAY8
        raw(b"\x8f"),  # EMPTY_SET
    ],
)
def test_opcodes_that_plain_data_does_not_need_are_refused(refused, content):
    assert "opcode" in refused(content) or content.startswith(b"(cos")


def test_old_style_calls_are_refused(refused):
    refused(b"cos\nsystem\n(S'true'\ntR.", "asks for os.system")


@pytest.mark.parametrize(
    "content",
    [
        raw(ODICT, b"]K\x01a\x85R"),  # arguments for an OrderedDict
        raw(ODICT, b"]R"),  # arguments that are no tuple
        raw(b"X\x01\x00\x00\x00a)R"),  # a call of a text
        raw(ODICT, b")R)R"),  # a call of what a call gave
        raw(LOAD, b"K\x05\x85R"),  # bytes that are none
        raw(LOAD, b"C\x02hi\x85R"),
        raw(REBUILD, b")R"),
        raw(ODICT, b"K\x01K\x02s"),  # items of a function
        raw(b"K\x01K\x02a"),  # an element for a number
        raw(b"]K\x00K\x02s"),  # items of a list
        raw(b"K\x01\x85K\x02a"),  # an element for a tuple
        raw(b"})K\x02s"),  # a tuple as key
    ],
)
def test_allowed_names_with_odd_arguments_are_refused(refused, content):
    refused(content)


GOOD = torch.ones(1, 4)


@pytest.mark.parametrize(
    "arguments",
    [
        (0, (1, 5), (5, 1)),  # beyond the storage: torch itself would enlarge it
        (1, (1, 4), (4, 1)),
        (0, (2, 4), (4, 1)),
        (0, (10**12,), (1,)),
        (0, (10**12,), (0,)),  # one number seen again and again: no memory until it is copied
        (0, (4, 4), (0, 1)),
        (10**12, (1,), (1,)),
        (-1, (1,), (1,)),
        (0, (-1,), (1,)),
        (0, (2,), (-1,)),
        (0, (2,), (1, 1)),
        (0, 4, 1),
        (0, (True,), (1,)),
        (0, (2.0,), (1,)),
        ("0", (1,), (1,)),
        (None, (1,), (1,)),
    ],
)
def test_tensors_that_reach_beyond_their_numbers_are_refused(refused, arguments):
    offset, size, stride = arguments
    tensor = Call(torch._utils._rebuild_tensor_v2, GOOD.storage(), offset, size, stride, False, OrderedDict())
    refused(pickle.dumps({"embed": tensor}), "tensor")


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8e" + (2**60).to_bytes(8, "little") + b"abc.",  # BINBYTES8
        b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"abc.",  # BINUNICODE8
        b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b"}.",  # FRAME
        raw(b"}r\xff\xff\xff\x7f"),  # LONG_BINPUT: C's unpickler would make a memo of 2**31 places
        raw(b"}j\xff\xff\xff\x7f"),  # LONG_BINGET
    ],
)
def test_announcements_larger_than_the_file_take_no_memory(refused, content):
    refused(content)


def test_a_storage_that_announces_more_than_the_file_holds_is_refused(refused):
    data = storage_bytes(torch.zeros(300))
    number = b"M" + (300).to_bytes(2, "little")
    assert data.count(number) == 1
    for count in (30_000, 2**31 - 1):
        announced = data.replace(number, b"J" + count.to_bytes(4, "little"))
        refused(pickle.dumps(Call(torch.storage._load_from_bytes, announced)))
        # No list of storages to read: the memory's former contents would be taken for numbers.
        without = announced[: announced.index(b"\x80\x02]")] + pickle.dumps([], protocol=2)
        refused(pickle.dumps(Call(torch.storage._load_from_bytes, without)), "fewer numbers than it announces")


def test_nested_tuples_that_take_for_ever_to_hash_are_no_keys(refused):
    evil = b"}" + b")" + b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(60)) + b"K\x01s"
    refused(raw(evil), "a key of its dicts is a tuple")


def test_damaged_and_foreign_files_are_refused(tmp_path, refused):
    good = pickle.dumps({"images": {1: {"embed": torch.ones(1, 4), "img_path": "a.jpg"}}, "captions": {}})
    for content in (b"", b"a,b\n1,2\n", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04nothing", good[:-30], good[:40], LEGACY):
        refused(content)
    with pytest.raises(FileNotFoundError, match="There is no file"):
        load_plain(tmp_path / "nowhere.pkl")


def test_random_damage_is_read_or_refused_and_nothing_else(tmp_path):
    good = pickle.dumps([{"embed": torch.arange(4.0)[None], "caption": "a dog", "ids": (1, 2)}] * 2)
    random = np.random.default_rng(0)
    path = tmp_path / "damaged.pkl"
    for _ in range(400):
        content = bytearray(good)
        for place in random.integers(len(content), size=random.integers(1, 4)):
            content[place] = random.integers(256)
        path.write_bytes(content)
        refusal = str(path)
        try:
            load_plain(path)
        except ValueError as error:
            refusal = str(error)
        assert refusal.startswith(str(path))
