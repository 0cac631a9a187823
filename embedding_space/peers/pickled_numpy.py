"""What stands in for NumPy's own functions where `unpickle` reads arrays: no file chooses what is called."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")  # what torch has, too
ORDERS = ("<", ">", "|", "=")
HOMES = ("numpy._core", "numpy.core")  # of NumPy 2 and before


class Refusal(Exception):
    """Why a file is refused, without its name."""


class PickledDtype:
    """numpy.dtype, whose byte order comes with BUILD."""

    def __init__(self, *args: Any):
        if len(args) != 3 or args[0] not in KINDS:
            raise Refusal(f"it asks for numpy.dtype{ascii(args)[:40]}, and may hold tensors and plain containers only")
        self.kind: str = args[0]
        self.order: Any = "="

    def build(self, state: Any) -> PickledDtype:
        """Take over (version, byte order, and nothing of records or objects)."""
        if type(state) is not tuple or len(state) < 5 or state[1] not in ORDERS or state[2:5] != (None,) * 3:
            raise Refusal("the type of a NumPy array in it is none of plain numbers")
        self.order = state[1]
        return self

    def array(self, data: Any, shape: Any, order: Literal["C", "F"]) -> np.ndarray:
        """`data`, bytes, as an array with its own memory, in this machine's byte order."""
        dtype = np.dtype(self.kind).newbyteorder(self.order)
        if not isinstance(data, (bytes, bytearray)):
            raise Refusal(f"where the numbers of a NumPy array should be, it has a {type(data).__name__}")
        if type(shape) is not tuple or any(type(length) is not int or length < 0 for length in shape):
            raise Refusal("a NumPy array in it has no proper shape")
        if math.prod(shape) * dtype.itemsize != len(data):
            raise Refusal(f"a NumPy array of shape {shape} in it has {len(data):,} bytes of numbers")
        array = np.frombuffer(data, dtype).reshape(shape, order=order)
        return array.astype(np.dtype(self.kind), order="C")  # a copy


class PickledArray:
    """numpy.ndarray from `_reconstruct`, whose contents come with BUILD."""

    def build(self, state: Any) -> Tensor:
        """The tensor of (version, shape, dtype, whether in Fortran's order, bytes)."""
        if type(state) is not tuple or len(state) != 5 or not isinstance(state[2], PickledDtype):
            raise Refusal("a NumPy array in it has no proper contents")
        _, shape, dtype, fortran, data = state
        return torch.from_numpy(dtype.array(data, shape, "F" if fortran else "C"))


class _Class:
    """numpy.ndarray, as an argument."""


NDARRAY = _Class()


def reconstruct(*args: Any) -> PickledArray:
    """Stands in for numpy's `_reconstruct`, called with (ndarray, (0,), b"b")."""
    if len(args) != 3 or args[0] is not NDARRAY or args[1] != (0,):
        raise Refusal("a NumPy array in it is none of plain numbers")
    return PickledArray()


def from_buffer(*args: Any) -> Tensor:
    """Stands in for numpy's `_frombuffer` of protocol 5, called with bytes, dtype, shape and order."""
    if len(args) != 4 or not isinstance(args[1], PickledDtype) or args[3] not in ("C", "F"):
        raise Refusal("a NumPy array in it has no proper contents")
    data, dtype, shape, order = args
    return torch.from_numpy(dtype.array(data, shape, order))


def scalar(*args: Any) -> int | float | bool:
    """Stands in for numpy's `scalar`, called with dtype and bytes: a plain number."""
    if len(args) != 2 or not isinstance(args[0], PickledDtype):
        raise Refusal("a NumPy number in it has no proper contents")
    return args[0].array(args[1], (), "C").item()
