"""Diffusion: training samples per second, and embeddings bridged per second. Random weights do: speed is the same."""

from __future__ import annotations

import tempfile
from itertools import islice

import torch
import torch.nn.functional as F
from ema_pytorch import EMA
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from common.config import compose_config, plain
from common.device import best_device, choose_precision
from ddpm.bridge import reverse_diffusion
from ddpm.diffusion import TextDiffusion
from ddpm.task import DiffusionTask
from scripts.benchmarks.timing import ClockedTask, StepClock, endless, median_seconds, parameters, with_ratios
from training.batches import EpochOrder
from training.loop import Loop, LoopConfig


def benchmark_ddpm(config: DictConfig, repeats: int) -> list[dict]:
    """Training at equal batch: our loop with either network, and the U-Net in the reference's kind of loop.

    All sides do the whole step: batch, timesteps, noise, loss, gradients, clipping, Adam, averaged weights.
    """
    rows = random_rows(config.rows, config.dim)
    precision = choose_precision(compose_config("ddpm").loop.precision, best_device())
    ways = [
        (f"MLP, our loop, {precision}", "mlp", _our_loop, config.steps * repeats),
        (f"Unet1D, our loop, {precision}", "unet1d", _our_loop, config.steps_unet * repeats),
        ("Unet1D, DataLoader, fp32 (reference)", "unet1d", _reference_loop, config.steps_unet * repeats),
    ]
    table = []
    for name, kind, train, steps in ways:
        model, clock = make_model(kind, config.dim), StepClock()
        train(model, rows, config, config.warmup + steps, clock)
        rate = clock.rate([config.batch_size] * (config.warmup + steps), config.warmup)
        table.append({"ddpm": name, "million parameters": parameters(model), "samples per second": rate})
    return with_ratios(table, "samples per second")


def benchmark_bridge(config: DictConfig, repeats: int) -> list[dict]:
    """Bridged rows per second, and ratios to the one-at-a-time U-Net loop, the reference's way to bridge a data set."""
    images = random_rows(config.rows, config.dim).to(best_device())
    models = {kind: make_model(kind, config.dim).to(best_device()).eval() for kind in ("mlp", "unet1d")}

    def bridge(model: TextDiffusion, rows: Tensor) -> Tensor:
        return reverse_diffusion(model, rows, config.image_timestep, config.image_steps)

    def one_at_a_time(model: TextDiffusion, rows: Tensor) -> Tensor:
        return torch.cat([bridge(model, row[None]) for row in rows])

    ways = {
        "MLP, batched": ("mlp", bridge, config.rows),
        "Unet1D, batched": ("unet1d", bridge, config.rows_unet),
        "MLP, one at a time": ("mlp", one_at_a_time, config.rows_single),
        "Unet1D, one at a time (reference)": ("unet1d", one_at_a_time, config.rows_single),
    }
    calls = {
        name: lambda way=way, kind=kind, count=count: way(models[kind], images[:count])
        for name, (kind, way, count) in ways.items()
    }
    seconds = median_seconds(calls, repeats)
    rows = [
        {"bridge": name, "million parameters": parameters(models[kind]), "embeddings per second": count / seconds[name]}
        for name, (kind, _, count) in ways.items()
    ]
    return with_ratios(rows, "embeddings per second")


def random_rows(count: int, dim: int) -> Tensor:
    """(count, dim) unit rows, the same at every call."""
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(0)), dim=-1)


def make_model(kind: str, dim: int) -> TextDiffusion:
    """A new text diffusion model with the denoiser of `configs/denoiser/<kind>.yaml`."""
    torch.manual_seed(0)
    return TextDiffusion(dim, plain(compose_config("ddpm", f"denoiser={kind}").denoiser))


def _our_loop(model: TextDiffusion, rows: Tensor, config: DictConfig, steps: int, clock: StepClock) -> None:
    """As `python -m ddpm.train` with the loop's options there, but for the number of steps and the batch."""
    options = plain(compose_config("ddpm").loop)
    options |= {"steps": steps, "batch_size": config.batch_size, "evaluate_every": None, "checkpoint_every": None}
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        loop = Loop(LoopConfig(**options), folder)
        rows = rows.to(loop.device)
        order = EpochOrder(len(rows), config.batch_size, 0)
        loop.fit(model, ClockedTask(DiffusionTask(rows, rows[:1], order, model.timesteps), clock))


def _reference_loop(model: TextDiffusion, rows: Tensor, config: DictConfig, steps: int, clock: StepClock) -> None:
    """The step of denoising-diffusion-pytorch's `Trainer1D`, which the reference trains with, in float32.

    A DataLoader with worker processes collates rows one by one; Adam; the loss is read back at every step; the averaged
    weights follow every tenth step.
    """
    device = best_device()
    model.to(device).train()
    loader = DataLoader(
        TensorDataset(rows), config.batch_size, shuffle=True, drop_last=True, num_workers=config.workers
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=8e-5, betas=(0.9, 0.99))
    average = EMA(model, beta=0.995, update_every=10)
    for (batch,) in islice(endless(loader), steps):
        clock.tick()
        batch = batch.to(device)
        times = torch.randint(model.timesteps, (len(batch),), device=device)
        loss = model(batch, times, torch.randn_like(batch)).mean()
        loss.backward()
        loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update()
    clock.tick()
