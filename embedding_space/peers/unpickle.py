"""Reading other people's pickles: tensors, NumPy arrays and plain containers, and nothing that could run code.

`pickle.load` runs whatever a file asks for. Here an unpickler knows few opcodes, looks up few names, and calls only our
own stand-ins for them. NumPy arrays become tensors.

An allow-list in `find_class` of C's `pickle.Unpickler` would be shorter, but leaves open what three tests hold.
One opcode of five bytes (LONG_BINPUT) makes its memo as large as the file says: 33 GB. A dict's key of nested tuples is
hashed for ever. And its memo holds the bytes of every tensor until the end, so that a file must fit in memory.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.storage import TypedStorage

from embedding_space.peers import pickled_numpy
from embedding_space.peers.pickled_numpy import HOMES, NDARRAY, PickledArray, PickledDtype, Refusal

# What pickle's protocols 2 to 5 write for plain data and calls; no NEWOBJ, INST, OBJ, EXT, PERSID. BUILD and BYTEARRAY8
# are our own, for NumPy's arrays alone.
OPCODES = (
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1",
    "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "APPEND", "APPENDS", "SETITEM", "SETITEMS", "GLOBAL", "STACK_GLOBAL", "REDUCE",
    "MEMOIZE", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "BUILD", "BYTEARRAY8",
)  # fmt: skip
KEYS = (str, int, float, type(None))  # of dicts: hashing nested tuples can take for ever
CODES = [getattr(pickle, name)[0] for name in OPCODES]
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
            return _Unpickler(file, keep).load()
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


class _Opcodes(dict):
    def __missing__(self, code: int):
        raise Refusal(f"it uses the pickle opcode {bytes([code])!r}, which a file of {PLAIN} does not need")


class _Memo(list):
    """What the unpickler may be asked for again. Storages' bytes never are: holding them would hold the whole file."""

    def __setitem__(self, index: int, value: Any) -> None:
        if index > len(self):  # a pickler counts up; a list would have to be filled up to a number of the file's choice
            raise Refusal(f"its memo goes from {len(self)} to {index}")
        parts = value if type(value) is tuple else (value,)
        if any(isinstance(part, (bytes, bytearray, _Numbers)) for part in parts):
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


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler in Python, for only there opcodes can be taken away."""

    def __init__(self, file: BinaryIO, keep: Keep):
        super().__init__(file)
        self.memo, self._keep, self._size = _Memo(), keep, os.fstat(file.fileno()).st_size
        self._encoded = 0

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

    def find_class(self, module: str, name: str) -> Callable:
        if (module, name) not in self._globals:
            raise Refusal(f"it asks for {_named(module, name)}, and may hold {PLAIN} only")
        return self._globals[module, name]

    def _reduce(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if type(args) is not tuple or not callable(function) or function not in self._callables:
            raise Refusal(f"it calls a {type(function).__name__} with a {type(args).__name__}")
        self.stack.append(function(*args))

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, (PickledArray, PickledDtype)):
            what = f"the pickle opcode b'b' on a {type(target).__name__}"
            raise Refusal(f"it uses {what}, which a file of {PLAIN} does not need")
        built = target.build(state)
        if isinstance(built, Tensor):
            self.stack[-1] = self._keep(built)
            self.memo.replace(target, self.stack[-1])

    def _bytearray(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        if length > self._size:  # Python's own would take the memory at once
            raise Refusal(f"the pickle opcode b'\\x96' in it announces {length:,} bytes, and it has {self._size:,}")
        self.append(self.read(length))

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([(key, value)])

    def _setitems(self) -> None:
        items = self.pop_mark()
        self._fill(zip(items[::2], items[1::2], strict=True))

    def _fill(self, items) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise Refusal(f"it sets items of a {type(target).__name__}")
        for key, value in items:
            if not isinstance(key, KEYS):
                raise Refusal(f"a key of its dicts is a {type(key).__name__}")
            target[key] = value

    def _append(self) -> None:
        value = self.stack.pop()
        self._extend([value])

    def _appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, values: list) -> None:
        if type(self.stack[-1]) is not list:
            raise Refusal(f"it appends to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(values)

    dispatch = _Opcodes({code: pickle._Unpickler.dispatch[code] for code in CODES})
    dispatch[pickle.REDUCE[0]] = _reduce
    dispatch[pickle.BUILD[0]] = _build
    dispatch[pickle.BYTEARRAY8[0]] = _bytearray
    dispatch[pickle.SETITEM[0]] = _setitem
    dispatch[pickle.SETITEMS[0]] = _setitems
    dispatch[pickle.APPEND[0]] = _append
    dispatch[pickle.APPENDS[0]] = _appends


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
