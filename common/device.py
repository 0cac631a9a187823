"""The device that commands compute on, and the precision that it computes in: one place for all of them.

`precision=auto` takes bfloat16 where the hardware multiplies it natively and float32 elsewhere: a CPU without bfloat16
instructions emulates them 25 to 600 times slower than float32.
"""

from __future__ import annotations

import os
import platform
import sys
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

import torch

from common.warn import warn_once

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DEVICE_VARIABLE = "DIFFUSION_BRIDGE_DEVICE"
_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}  # as Linux names them, on x86 and on ARM


def best_device() -> torch.device:
    """CUDA where there is a GPU, else the CPU; the environment variable DIFFUSION_BRIDGE_DEVICE (cpu, cuda, mps) wins.

    Of several processes that torchrun or accelerate started, each has the GPU of its LOCAL_RANK. CUDA_VISIBLE_DEVICES
    says which GPUs there are. Apple's mps is used only on request, since nothing was tested on it.

    Raises:
        ValueError: the variable names no device of this machine.
    """
    name = os.environ.get(DEVICE_VARIABLE) or ("cuda" if torch.cuda.is_available() else "cpu")
    if ":" in name:
        raise ValueError(f"{DEVICE_VARIABLE}={name}: give cpu, cuda or mps; CUDA_VISIBLE_DEVICES says which GPU")
    rank = os.environ.get("LOCAL_RANK", "")
    if name == "cuda" and rank.isdigit() and int(rank) < torch.cuda.device_count():
        name = f"cuda:{rank}"
    return checked_device(name, DEVICE_VARIABLE)


def checked_device(name: str, option: str) -> torch.device:
    """The device of this name. Raises ValueError naming `option` when this machine has none."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"{option}={name} is no device: give cpu, cuda, cuda:1 or mps") from error
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    count = counts.get(device.type, 0)
    if (device.index or 0) >= count:
        raise ValueError(
            f"{option}={name}: torch can use {count or 'no'} such device{'s' * (count > 1)} on this machine; leave "
            f"{option} out, or set it to cpu"
        )
    return device


def choose_precision(precision: str | None, device: torch.device, option: str = "precision") -> str:
    """fp32, bf16 or fp16: what `precision` means on `device`.

    Args:
        precision: one of `PRECISIONS`; "no" and null are fp32, as older configs have it.
        option: what set it, for messages.

    Warns of bf16 on a CPU that emulates it.

    Raises:
        ValueError: the precision is unknown.
    """
    precision = "fp32" if precision in (None, "no") else precision
    if precision not in PRECISIONS:
        raise ValueError(f"{option}={precision!r} must be one of {', '.join(PRECISIONS)}")
    if precision == "auto":
        return "bf16" if computes_bf16(device) else "fp32"
    if precision == "bf16" and not computes_bf16(device):
        warn_once(
            f"{option}=bf16: {device_name(device)} has no bfloat16 instructions and emulates them, 25 to 600 times "
            "slower than float32; auto or fp32 avoids that"
        )
    return precision


def computes_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively. False where that is not known, such as on Windows or MPS."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()  # the user's cap on what torch's library may use
    capped = not any(name in allowed for name in ("ALL", "DEFAULT", "BF16", "FP16", "AMX", "AVX10"))
    return device.type == "cpu" and not capped and bool(cpu_flags() & _BF16_FLAGS)


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Autocast to `precision`, as `choose_precision` gives it; for fp32 none, not even that around it."""
    dtype = _DTYPES[precision]
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


@cache
def cpu_flags() -> frozenset[str]:
    """The instruction sets of this CPU, as Linux names them; empty elsewhere."""
    return frozenset(_cpu_facts().get("flags", _cpu_facts().get("Features", "")).split())


def device_name(device: torch.device) -> str:
    """Such as "NVIDIA H100" or "AMD EPYC"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return _cpu_facts().get("model name") or platform.processor() or platform.machine()
    return device.type


def computing_on(device: torch.device, precision: str) -> str:
    """Such as "cpu (AMD EPYC), bf16, 2 threads"."""
    threads = torch.get_num_threads()
    cores = f", {threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else ""
    return f"{device.type} ({device_name(device)}), {precision}{cores}"


@cache
def announce(work: str, device: torch.device, precision: str) -> None:
    """Print once what `work` runs on, where progress is printed."""
    print(f"{work} on {computing_on(device, precision)}", file=sys.stderr, flush=True)


@cache
def _cpu_facts() -> dict[str, str]:
    """The first processor's entries in /proc/cpuinfo; none where there is no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
