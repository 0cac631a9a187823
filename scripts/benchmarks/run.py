"""Running the chosen benchmarks.

The work behind `scripts/benchmark.py`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import DictConfig

from common.config import plain
from common.files import write_json
from common.provenance import run_facts
from common.registry import look_up
from evaluation.table import Column, Table
from scripts.benchmarks.captioning import benchmark_captioner
from scripts.benchmarks.diffusion import benchmark_bridge, benchmark_ddpm
from scripts.benchmarks.drawing import benchmark_drawing
from scripts.benchmarks.encoding import benchmark_encode
from scripts.benchmarks.generation import benchmark_captions
from scripts.benchmarks.hardware import benchmark_hardware
from scripts.benchmarks.memory import benchmark_memory
from scripts.benchmarks.pcm_net import benchmark_pcm_net
from scripts.benchmarks.scoring import benchmark_scoring
from scripts.benchmarks.translation import benchmark_translation

BENCHMARKS = {
    "hardware": benchmark_hardware,
    "encode": benchmark_encode,
    "ddpm": benchmark_ddpm,
    "bridge": benchmark_bridge,
    "captioner": benchmark_captioner,
    "captions": benchmark_captions,
    "pcm_net": benchmark_pcm_net,
    "drawing": benchmark_drawing,
    "memory": benchmark_memory,
    "scoring": benchmark_scoring,
    "translation": benchmark_translation,
}
DIGITS = {"million parameters": 2, "cosine": 4, "lowest cosine": 4, "neighbors found": 3, "same captions": 2}


def run_benchmarks(config: DictConfig) -> dict[str, list[dict]]:
    """Run the benchmarks in `config.what`; each prints its table and writes `benchmark_<name>.json`."""
    benchmarks = {name: look_up(name, BENCHMARKS, "benchmark", "what") for name in config.what}
    output_dir = Path(config.output_dir)
    results = {}
    for name, benchmark in benchmarks.items():
        rows = results[name] = benchmark(config[name], config.repeats)
        print(Table(rows, [Column(column, DIGITS.get(column, 1)) for column in rows[0]]).text())
        facts = {**run_facts(), "threads": torch.get_num_threads(), "repeats": config.repeats}
        path = output_dir / f"benchmark_{name}.json"
        write_json(path, {**facts, "config": plain(config[name]), "rows": rows})
        print(f"Written: {path}\n")
    return results
