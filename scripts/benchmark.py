"""Speed of our way against the reference's, both sides in one run. See configs/benchmark.yaml.

python scripts/benchmark.py bridge
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ddpm.bridge import reverse_diffusion
from ddpm.diffusion import TextDiffusion
from evaluation.facts import run_facts
from evaluation.table import Column, Table
from training.cli import command
from training.config import compose_config


def benchmark_bridge(config: DictConfig) -> list[dict]:
    """Bridge embeddings with random weights (speed does not depend on them): rows a second, and ratios to the
    one-at-a-time Unet1D loop, which is how the reference bridges a data set."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = F.normalize(torch.randn(config.rows, config.dim, generator=torch.Generator().manual_seed(0)), dim=-1)
    images = images.to(device)
    models = {}
    for kind in ("mlp", "unet1d"):
        denoiser = OmegaConf.to_container(compose_config("ddpm", f"denoiser={kind}").denoiser)
        torch.manual_seed(0)
        models[kind] = TextDiffusion(config.dim, denoiser).to(device).eval()

    def bridge(model: TextDiffusion, rows: Tensor) -> Tensor:
        return reverse_diffusion(model, rows, config.image_timestep, config.image_steps)

    def one_at_a_time(model: TextDiffusion, rows: Tensor) -> Tensor:
        return torch.cat([bridge(model, row[None]) for row in rows])

    ways = [
        ("MLP, batched", models["mlp"], bridge, config.rows),
        ("Unet1D, batched", models["unet1d"], bridge, config.rows_unet),
        ("MLP, one at a time", models["mlp"], one_at_a_time, config.rows_single),
        ("Unet1D, one at a time (reference)", models["unet1d"], one_at_a_time, config.rows_single),
    ]
    rows = []
    for name, model, way, count in ways:
        seconds = _seconds(lambda model=model, way=way, count=count: way(model, images[:count]), config.repeats, device)
        parameters = sum(p.numel() for p in model.process.model.parameters()) / 1e6
        rows.append({"bridge": name, "million parameters": parameters, "embeddings a second": count / seconds})
    reference = rows[-1]["embeddings a second"]
    return [{**row, "ratio": row["embeddings a second"] / reference} for row in rows]


def _seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """The fastest of `repeats` calls, after one that warms up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


BENCHMARKS = {"bridge": benchmark_bridge}


def run(config: DictConfig) -> list[dict]:
    """Run the benchmark that `config.benchmark` names; prints its table and writes `benchmark_<name>.json`."""
    if config.benchmark not in BENCHMARKS:
        raise ValueError(f"Unknown benchmark {config.benchmark!r}; known: {', '.join(BENCHMARKS)}")
    rows = BENCHMARKS[config.benchmark](config)
    columns = [Column(name, 2 if "million" in name else 1) for name in rows[0]]
    print(Table(rows, columns).text())
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    results = {
        **run_facts(),
        "threads": torch.get_num_threads(),
        "config": OmegaConf.to_container(config, resolve=True),
    }
    path = output_dir / f"benchmark_{config.benchmark}.json"
    path.write_text(json.dumps({**results, "rows": rows}, indent=2) + "\n")
    print(f"Written: {path}")
    return rows


if __name__ == "__main__":
    # `bridge` alone, as a word, chooses the benchmark.
    sys.argv[1:] = [f"benchmark={word}" if word in BENCHMARKS else word for word in sys.argv[1:]]
    command("benchmark", run)()
