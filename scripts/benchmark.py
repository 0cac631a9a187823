"""Speed of our way against the reference's, both sides in one run. See configs/benchmark.yaml.

python scripts/benchmark.py bridge ddpm
"""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> dict[str, list[dict]]:
    """Run the benchmarks in `config.what`; each prints its table and writes `benchmark_<name>.json`."""
    from scripts.benchmarks.run import run_benchmarks

    return run_benchmarks(config)


def take_names(arguments: list[str]) -> list[str]:
    """Command-line arguments whose plain words, which choose benchmarks, are one option for Hydra."""
    names = [word for word in arguments if word.isidentifier()]
    chosen = [f"what=[{','.join(names)}]"] if names else []
    return [word for word in arguments if not word.isidentifier()] + chosen


if __name__ == "__main__":
    sys.argv[1:] = take_names(sys.argv[1:])
    command("benchmark", run)()
