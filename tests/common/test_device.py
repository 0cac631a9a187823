"""Which device and precision are chosen: a function of what the hardware can do."""

from __future__ import annotations

import warnings

import pytest
import torch

from common import device as room
from common.device import autocast, best_device, checked_device, choose_precision, computes_bf16, computing_on

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


@pytest.fixture
def flags(monkeypatch):
    """Sets the instruction sets of the CPU."""
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    return lambda *names: monkeypatch.setattr(room, "cpu_flags", lambda: frozenset(names))


@pytest.mark.parametrize(
    ("names", "precision"),
    [
        ((), "fp32"),  # Windows and macOS, which do not say
        (("sse4_2", "avx2", "fma"), "fp32"),
        (("avx2", "avx512f", "avx512_vnni"), "fp32"),
        (("avx2", "avx512f", "avx512_bf16"), "bf16"),
        (("avx2", "amx_tile", "amx_bf16"), "bf16"),
        (("asimd", "sve", "bf16"), "bf16"),  # ARM
    ],
)
def test_auto_is_bf16_only_on_cpus_with_instructions_for_it(flags, names, precision):
    flags(*names)
    assert choose_precision("auto", CPU) == precision


@pytest.mark.parametrize(("cap", "native"), [("AVX2", False), ("avx512_core", False), ("AVX512_CORE_BF16", True)])
def test_a_cap_on_the_librarys_instructions_is_heeded(flags, monkeypatch, cap, native):
    flags("avx512_bf16")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", cap)
    assert computes_bf16(CPU) is native


@pytest.mark.parametrize(("capability", "native"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_gpus_multiply_bf16_from_ampere_on(monkeypatch, capability, native):
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    assert computes_bf16(CUDA) is native
    assert not computes_bf16(MPS)


@pytest.mark.parametrize(("given", "chosen"), [("no", "fp32"), (None, "fp32"), ("fp32", "fp32"), ("fp16", "fp16")])
def test_what_is_asked_for_is_taken(given, chosen):
    assert choose_precision(given, CPU) == chosen


def test_emulated_bf16_is_allowed_with_one_warning_that_names_the_cost(flags, caplog):
    flags("avx2")
    for _ in range(3):
        assert choose_precision("bf16", CPU, "loop.precision") == "bf16"
    (record,) = caplog.records
    assert "loop.precision=bf16" in record.message and "25 to 600 times slower" in record.message


def test_another_precision_is_refused_naming_the_option():
    with pytest.raises(ValueError, match=r"encoder\.precision='int8' must be one of auto, fp32, bf16, fp16"):
        choose_precision("int8", CPU, "encoder.precision")


def test_the_environment_chooses_the_device(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("DIFFUSION_BRIDGE_DEVICE", raising=False)
    assert best_device() == CPU
    monkeypatch.setenv("DIFFUSION_BRIDGE_DEVICE", "cuda:1")
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES"):
        best_device()


def test_each_of_several_processes_has_the_gpu_of_its_rank(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.delenv("DIFFUSION_BRIDGE_DEVICE", raising=False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert best_device() == CUDA
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert best_device() == torch.device("cuda:3")
    monkeypatch.setenv("LOCAL_RANK", "4")  # each process sees the one GPU that is its own
    assert best_device() == CUDA
    monkeypatch.setenv("DIFFUSION_BRIDGE_DEVICE", "cpu")
    assert best_device() == CPU


@pytest.mark.parametrize(
    ("name", "message"),
    [("gpu", "encoder.device=gpu is no device"), ("cuda:99", "encoder.device=cuda:99"), ("xpu", "no such device")],
)
def test_a_device_that_is_not_there_is_refused_naming_the_option(name, message):
    with pytest.raises(ValueError, match=message):
        checked_device(name, "encoder.device")


def test_autocast_rounds_products_to_the_precision_and_leaves_fp32_alone():
    rows = torch.randn(4, 4)
    with autocast(CPU, "fp32"):
        assert (rows @ rows).dtype == torch.float32
    with autocast(CPU, "bf16"):
        assert (rows @ rows).dtype == torch.bfloat16
        with autocast(CPU, "fp32"):
            assert (rows @ rows).dtype == torch.float32


def test_what_a_run_computes_on_is_said_in_one_line():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        line = computing_on(CPU, "fp32")
    assert line.startswith("cpu (") and f"fp32, {torch.get_num_threads()} thread" in line
