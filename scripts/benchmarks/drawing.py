"""Image generation: training pictures per second, and pictures drawn per second by steps of the solver."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler  # pyright: ignore[reportPrivateImportUsage]
from ema_pytorch import EMA
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from alignment.chain import Alignment
from alignment.steps import Normalize
from common.config import compose_config, plain
from common.device import best_device, choose_precision
from image_generation.flow import LogitNormal, Sampling, guided
from image_generation.generator import ImageGenerator
from image_generation.pixels import read_square, to_unit_range
from image_generation.task import GenerationTask, Pictures
from scripts.benchmarks.diffusion import random_rows
from scripts.benchmarks.timing import ClockedTask, StepClock, endless, median_seconds, with_ratios
from training.batches import EpochOrder
from training.loop import Loop, LoopConfig


def benchmark_drawing(config: DictConfig, repeats: int) -> list[dict]:
    """Training at equal batch and network, then drawing with guidance; the usual way comes last in each part."""
    return [*training_rows(config, repeats), *drawing_rows(config, repeats)]


def training_rows(config: DictConfig, repeats: int) -> list[dict]:
    """Training pictures per second: our loop over one array, and a loop that opens a file per picture at every step."""
    precision = choose_precision(compose_config("image_generation").loop.precision, best_device())
    ways: dict[str, Callable] = {
        f"training, our loop, {precision}": partial(_our_loop, precision=precision),
        "training, our loop, fp32": partial(_our_loop, precision="fp32"),
        "training, picture files, fp32 (reference)": _reference_loop,
    }
    steps = config.warmup + config.steps * repeats
    table = []
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        pictures = make_pictures(Path(folder), config)
        for name, train in ways.items():
            clock = StepClock()
            train(make_generator(config), pictures, config, steps, clock)
            rate = clock.rate([config.batch_size] * steps, config.warmup)
            table.append({"drawing": name, "pictures per second": rate})
    return with_ratios(table, "pictures per second")


def drawing_rows(config: DictConfig, repeats: int) -> list[dict]:
    """Pictures drawn per second with guidance, in batches; and one at a time, by diffusers' solver."""
    model = make_generator(config).to(best_device()).eval()
    precision = choose_precision("auto", best_device())
    rows = random_rows(config.pictures, config.dim).to(model.device)

    def draw(steps: int, precision: str) -> Tensor:
        sampling = Sampling(steps, solver="euler", batch_size=config.drawing_batch_size)
        return model.generate(rows, range(len(rows)), sampling, precision)

    single = rows[: config.pictures_single]
    ways = {
        f"{steps} steps, {precision}": (partial(draw, steps, precision), len(rows)) for steps in config.solver_steps
    }
    steps = config.steps_single
    ways[f"{steps} steps, fp32"] = (partial(draw, steps, "fp32"), len(rows))
    ways[f"{steps} steps, one at a time, fp32 (reference)"] = (partial(draw_singly, model, single, steps), len(single))
    seconds = median_seconds({name: way for name, (way, _) in ways.items()}, repeats)
    table = [
        {"drawing": f"drawing, {name}", "pictures per second": count / seconds[name]}
        for name, (_, count) in ways.items()
    ]
    return with_ratios(table, "pictures per second")


@torch.no_grad()
def draw_singly(model: ImageGenerator, rows: Tensor, steps: int, guidance: float = Sampling.guidance) -> Tensor:
    """(N, C, S, S): each picture on its own by diffusers' Euler solver, a pass with its row and one without at each
    step."""
    drawn = []
    for seed, row in enumerate(rows):
        scheduler = FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps).tolist())  # the last one goes to 0
        shape = (1, model.planes, model.side, model.side)
        state = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(model.device)
        for time in cast(Any, scheduler.timesteps):
            times = time.to(state)[None] / scheduler.config["num_train_timesteps"]
            velocities = [model.velocity(state, times, each) for each in (row[None], torch.zeros_like(row)[None])]
            state = scheduler.step(guided(*velocities, guidance), time, cast(Any, state), return_dict=False)[0]
        drawn.append(state)
    return torch.cat(drawn)


def make_generator(config: DictConfig) -> ImageGenerator:
    """A new generator with the network of `configs/image_generation.yaml`."""
    options = plain(compose_config("image_generation", *config.overrides))
    torch.manual_seed(0)
    return ImageGenerator(
        config.dim, options["size"], options["network"], [{"step": "Normalize"}], {}, predicts=options["predicts"]
    )


def make_pictures(folder: Path, config: DictConfig) -> list[Path]:
    """Made-up picture files."""
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(config.files)]
    for path in paths:
        coarse = random.integers(256, size=(6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((config.file_size, config.file_size), Image.Resampling.BICUBIC).save(path)
    return paths


def _our_loop(
    model: ImageGenerator, files: list[Path], config: DictConfig, steps: int, clock: StepClock, precision: str
) -> None:
    """As `python -m image_generation.train`, but for the number of steps and the batch."""
    options = plain(compose_config("image_generation", *config.overrides))
    changed = {"steps": steps, "batch_size": config.batch_size, "precision": precision}
    never = {"evaluate_every": None, "checkpoint_every": None}
    array = np.stack([read_square(path, model.size) for path in files])
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        loop = Loop(LoopConfig(**{**options["loop"], **changed, **never}), folder)
        pictures = Pictures(array, random_rows(len(files), config.dim).to(loop.device))
        order = EpochOrder(len(files), config.batch_size, 0)
        times, alignment = LogitNormal(options["time_mean"], options["time_std"]), Alignment([Normalize()])
        task = GenerationTask(pictures, pictures, alignment, order, options["drop_condition"], times)
        loop.fit(model, ClockedTask(task, clock))


class _Files(Dataset):
    def __init__(self, paths: list[Path], rows: Tensor, size: int):
        self.paths, self.rows, self.size = paths, rows, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(read_square(self.paths[index], self.size).copy()), self.rows[index]


def _reference_loop(model: ImageGenerator, files: list[Path], config: DictConfig, steps: int, clock: StepClock) -> None:
    """The usual loop: a DataLoader opens the files at every step; float32; the loss is read back; averaged weights."""
    options, device = plain(compose_config("image_generation", *config.overrides)), best_device()
    model.to(device).train()
    data = _Files(files, random_rows(len(files), config.dim), model.size)
    loader = DataLoader(data, config.batch_size, shuffle=True, drop_last=True, num_workers=config.workers)
    optimizer = torch.optim.AdamW(model.parameters(), options["loop"]["learning_rate"])
    average = EMA(model.network, beta=0.999, update_every=1)
    times = LogitNormal(options["time_mean"], options["time_std"])
    for pixels, rows in islice(endless(loader), steps):
        clock.tick()
        clean, rows = to_unit_range(pixels.to(device)), rows.to(device)
        kept = torch.rand(len(rows), 1, device=device) >= options["drop_condition"]
        at = times.draw(torch.randn(len(rows), device=device))
        loss = model(clean, rows * kept, at, torch.randn_like(clean)).mean()
        loss.backward()
        loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update()
    clock.tick()
