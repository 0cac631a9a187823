"""Reading other people's pickles: tensors, NumPy arrays and plain containers, and nothing that could run code.

`pickle.load` runs whatever a file asks for. Here `pickletools.genops` reads the opcodes, and `_Machine` does the few
that plain data need. It looks up few names, and calls only our stand-ins for them. NumPy arrays become tensors.

An allow-list in `find_class` of `pickle.Unpickler` would be shorter, but leaves open what three tests hold.
One opcode of five bytes (LONG_BINPUT) makes its memo as large as the file says: 33 GB. A dict's key of nested tuples is
hashed forever. And its memo holds the bytes of every tensor until the end, so that a file must fit in memory.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import pickletools
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.storage import TypedStorage

from embedding_space.peers import pickled_numpy
from embedding_space.peers.pickled_numpy import HOMES, NDARRAY, PickledArray, PickledDtype, Refusal

# What pickle's protocols 2 to 5 write for plain data and calls; no NEWOBJ, INST, OBJ, EXT, PERSID.
LITERALS = (
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
)  # fmt: skip
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
CONTAINERS = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
KEYS = (str, int, float, type(None))  # of dicts: hashing nested tuples can take for ever
ZIP, GZIP, NPY = b"PK\x03\x04", b"\x1f\x8b", b"\x93NUMPY"
LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # torch.save before 1.6, and a pickled tensor's storage
PLAIN = "tensors and plain containers (dict, list, tuple, text, numbers)"
REMEDY = "; if you know who made it, have it saved again with pickle.dump(..., protocol=4) and torch tensors"

Keep = Callable[[Tensor], Any]


def load_plain(path: str | Path, keep: Keep = lambda tensor: tensor) -> Any:
    """What a pickle, a torch.save or a .npy file holds, if that is tensors (on the CPU) and plain containers.

    Args:
        keep: called with each tensor of a pickle (NumPy arrays are tensors here) as it is read; what it returns stands
            in the tensor's place, so that a file larger than the memory can be read. Tensors of a torch.save file are
            not passed through it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds anything else, or is damaged; the sentence names the file and what it asked for.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}")
    with path.open("rb") as file:
        begins = file.read(len(LEGACY))
        file.seek(0)
        try:
            if begins.startswith(GZIP):
                raise Refused(f"{path} is refused: it is compressed by gzip: unpack it first")
            if begins.startswith(NPY):
                # Mapped, for a header may announce more than there is.
                return torch.from_numpy(np.array(np.load(path, mmap_mode="r", allow_pickle=False)))
            if begins.startswith(ZIP) or begins == LEGACY:
                return _load_torch(file)
            return _Machine(file, keep).load()
        except Refusal as refusal:
            raise ValueError(f"{path} is refused: {refusal}{REMEDY}") from None
        except Refused:
            raise
        # A hostile file makes the unpickler's own code fail in any way.
        except Exception as error:
            raise ValueError(
                f"{path} is refused: it is cut short, damaged or no pickle of {PLAIN} ({_first_line(error)}){REMEDY}"
            ) from None


class Refused(ValueError):
    """What `keep` raises to end the reading with its own sentence."""


class _Numbers(NamedTuple):
    """A storage: all its numbers in a row."""

    flat: Tensor


class _Memo(list):
    """What the unpickler may be asked for again. Storages' bytes never are: holding them would hold the whole file.

    A single byte is kept: NumPy's `_reconstruct` is called with b"b", and an array of that one byte refers to it.
    """

    def __setitem__(self, index: int, value: Any) -> None:
        if index > len(self):  # a pickler counts up; a list would have to be filled up to a number of the file's choice
            raise Refusal(f"its memo goes from {len(self)} to {index}")
        parts = value if type(value) is tuple else (value,)
        if any(isinstance(part, (bytes, bytearray, _Numbers)) and part != b"b" for part in parts):
            value = None
        if index == len(self):
            self.append(value)
        else:
            super().__setitem__(index, value)

    def replace(self, old: Any, new: Any) -> None:
        """Put `new` where `old` stands, among what came last, and nothing where it stands within a tuple."""
        for index in range(len(self) - 1, max(len(self) - 32, 0) - 1, -1):
            if self[index] is old:
                super().__setitem__(index, new)
            elif type(self[index]) is tuple and any(part is old for part in self[index]):
                super().__setitem__(index, None)


class _Stream:
    """A file without `tell`, which `genops` would call at every opcode."""

    def __init__(self, file: BinaryIO):
        self.read, self.readline = file.read, file.readline


class _Machine:
    """Does what the opcodes of a pickle say, where plain data need them."""

    def __init__(self, file: BinaryIO, keep: Keep):
        self._file, self._keep, self._size = file, keep, os.fstat(file.fileno()).st_size
        self._encoded = 0
        self.memo = _Memo()
        self.stack: list[Any] = []
        self._marks: list[int] = []  # lengths of the stack
        push = self.stack.append
        self._actions: dict[str, Callable[[Any], object]] = {
            **dict.fromkeys(("PROTO", "STOP"), lambda _: None),
            "FRAME": self._check_frame,
            **dict.fromkeys(LITERALS, push),
            **{name: lambda _, value=value: push(value) for name, value in CONSTANTS.items()},
            **{name: lambda _, kind=kind: push(kind()) for name, kind in CONTAINERS.items()},
            "MARK": lambda _: self._marks.append(len(self.stack)),
            "TUPLE": lambda _: push(tuple(self._pop_mark())),
            **{f"TUPLE{count}": lambda _, count=count: push(tuple(self._pop(count))) for count in (1, 2, 3)},
            "APPEND": lambda _: self._extend(self._pop(1)),
            "APPENDS": lambda _: self._extend(self._pop_mark()),
            "SETITEM": lambda _: self._fill(self._pop(2)),
            "SETITEMS": lambda _: self._fill(self._pop_mark()),
            "GLOBAL": lambda names: push(self._find(*names.split(" ", 1))),
            "STACK_GLOBAL": lambda _: push(self._find(*self._pop(2))),
            "REDUCE": lambda _: push(self._call(*self._pop(2))),
            "BUILD": lambda _: self._build(*self._pop(1)),
            "MEMOIZE": lambda _: self._memoize(len(self.memo)),
            **dict.fromkeys(("BINPUT", "LONG_BINPUT"), self._memoize),
            **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda index: push(self.memo[index])),
        }

        def rebuild(*args: Any) -> Any:
            return keep(_rebuild_tensor(*args))

        def from_buffer(*args: Any) -> Any:
            return keep(pickled_numpy.from_buffer(*args))

        def encode(text: Any, encoding: Any) -> bytes:  # bytes, in protocol 2
            if type(text) is not str or encoding != "latin1":
                raise Refusal(f"it encodes a {type(text).__name__} by {ascii(encoding)[:20]}")
            self.memo.replace(text, None)
            self._encoded += len(text)
            if self._encoded > self._size:  # the same text again and again
                raise Refusal("it has more bytes of numbers than it is long")
            return text.encode(encoding)

        self._globals = {
            ("collections", "OrderedDict"): _empty_dict,
            ("torch._utils", "_rebuild_tensor_v2"): rebuild,
            ("torch.storage", "_load_from_bytes"): _load_storage,
            ("_codecs", "encode"): encode,
            ("__builtin__", "bytes"): _no_bytes,
            ("numpy", "dtype"): PickledDtype,
            ("numpy", "ndarray"): NDARRAY,
        }
        for home in HOMES:
            self._globals[f"{home}.multiarray", "_reconstruct"] = pickled_numpy.reconstruct
            self._globals[f"{home}.multiarray", "scalar"] = pickled_numpy.scalar
            self._globals[f"{home}.numeric", "_frombuffer"] = from_buffer
        self._callables = {value for value in self._globals.values() if value is not NDARRAY}

    def load(self) -> Any:
        """What the pickle holds."""
        for opcode, argument, _ in pickletools.genops(cast(BinaryIO, _Stream(self._file))):
            if opcode.name not in self._actions:
                code = opcode.code.encode("latin-1")
                raise Refusal(f"it uses the pickle opcode {code!r}, which a file of {PLAIN} does not need")
            self._actions[opcode.name](argument)
        return self.stack.pop()

    def _pop(self, count: int) -> list[Any]:
        values = self.stack[-count:]
        if len(values) < count:
            raise Refusal("one of its opcodes lacks its values")
        del self.stack[-count:]
        return values

    def _pop_mark(self) -> list[Any]:
        start = self._marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def _check_frame(self, length: int) -> None:
        if length > self._size:
            raise Refusal(f"its frame announces {length:,} bytes, and it has {self._size:,}")

    def _memoize(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def _find(self, module: str, name: str) -> Any:
        if (module, name) not in self._globals:
            raise Refusal(f"it asks for {_named(module, name)}, and may hold {PLAIN} only")
        return self._globals[module, name]

    def _call(self, function: Any, args: Any) -> Any:
        if type(args) is not tuple or not callable(function) or function not in self._callables:
            raise Refusal(f"it calls a {type(function).__name__} with a {type(args).__name__}")
        return function(*args)

    def _build(self, state: Any) -> None:
        target = self.stack[-1]
        if not isinstance(target, (PickledArray, PickledDtype)):
            what = f"the pickle opcode b'b' on a {type(target).__name__}"
            raise Refusal(f"it uses {what}, which a file of {PLAIN} does not need")
        built = target.build(state)
        if isinstance(built, Tensor):
            self.stack[-1] = self._keep(built)
            self.memo.replace(target, self.stack[-1])

    def _fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise Refusal(f"it sets items of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, KEYS):
                raise Refusal(f"a key of its dicts is a {type(key).__name__}")
            target[key] = value

    def _extend(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise Refusal(f"it appends to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(values)


def _empty_dict() -> dict:
    """For an OrderedDict, which every tensor has one of, empty; a dict is smaller and ordered, too."""
    return {}


def _no_bytes() -> bytes:
    """In protocol 2, for those of an array without numbers."""
    return b""


def _load_storage(data: bytes) -> _Numbers:
    """A plain pickle keeps a tensor's numbers as the bytes of a torch.save file, a pickle again."""
    if not isinstance(data, bytes) or not data.startswith((LEGACY, ZIP)):
        raise Refusal("the bytes of a tensor in it are not what torch writes")
    storage = _load_torch(io.BytesIO(data))
    if not isinstance(storage, TypedStorage):
        raise Refusal(f"where a tensor's numbers should be, it has a {type(storage).__name__}")
    flat = torch.empty(0, dtype=storage.dtype).set_(storage)
    if flat.nbytes > len(data):  # announced, but not in the file: the memory's former contents
        raise Refusal("a tensor in it has fewer numbers than it announces")
    return _Numbers(flat)


def _rebuild_tensor(storage, offset, size, stride, requires_grad=False, hooks=None, metadata=None) -> Tensor:
    """torch._utils._rebuild_tensor_v2, which itself would enlarge a storage that is too small."""
    if not isinstance(storage, _Numbers):
        raise Refusal(f"where a tensor's storage should be, it has a {type(storage).__name__}")
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
        raise Refusal("a tensor in it has no proper size and stride")
    if any(type(number) is not int or number < 0 for number in (offset, *size, *stride)):
        raise Refusal("the offset, size or stride of a tensor in it is no whole number from 0 on")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    elements = math.prod(size)
    # Few numbers seen many times (a stride of 0) could be more than any memory holds.
    flat = storage.flat
    if elements and (last >= len(flat) or elements > len(flat)):
        raise Refusal(f"a tensor of size {size} in it reaches beyond its {len(flat)} numbers")
    return flat.as_strided(size, stride, offset) if elements else flat.new_empty(size)


def _load_torch(file: BinaryIO) -> Any:
    if file.read(len(ZIP)) == ZIP:
        _check_zip(file)
    file.seek(0)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if asked:
            raise Refusal(f"it asks for {_named(asked[1])}, and may hold {PLAIN} only") from None
        raise Refusal(f"torch cannot read a tensor or all of it as plain data ({_first_line(error)})") from None


def _check_zip(file: BinaryIO) -> None:
    """torch.load unpacks entries whole: compressed or overlapping ones could be more than any memory holds."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    if entries and all(entry.filename.endswith(".npy") for entry in entries):
        raise Refusal("it is an archive of NumPy arrays (.npz), which has no place for ids and captions")
    size = file.seek(0, io.SEEK_END)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise Refusal("its entries are compressed, which torch.save never does")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > size:
        raise Refusal(f"its entries announce {unpacked:,} bytes, and it has {size:,}")


def _named(*parts: str) -> str:
    """A name out of the file, short and without control characters, for it will be printed."""
    return ascii(".".join(parts))[1:-1][:80]


def _first_line(error: Exception) -> str:
    return ascii(" ".join(str(error).split()))[1:-1][:150] or type(error).__name__
