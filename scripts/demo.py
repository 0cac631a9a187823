"""The demo: prepare the world, train every method, evaluate, and write a report. See configs/demo.yaml.

python scripts/demo.py
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> object:
    """Run as `configs/demo.yaml` says; returns what `results.json` holds. Finished stages are re-used."""
    from comparison.demo import run_demo

    return run_demo(config)


if __name__ == "__main__":
    command("demo", run)()
