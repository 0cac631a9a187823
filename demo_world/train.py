"""python -m demo_world.train: train the detector of what a picture of the demo world shows."""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/demo_world.yaml` says; returns the validation metrics of the last evaluation."""
    from demo_world.training_run import train as run

    return run(config)


if __name__ == "__main__":
    command("demo_world", train)()
