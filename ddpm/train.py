"""python -m ddpm.train: train a diffusion model of a data set's text embeddings."""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/ddpm.yaml` says; returns the validation metrics of the last evaluation."""
    from ddpm.training_run import train as run

    return run(config)


main = command("ddpm", train)

if __name__ == "__main__":
    main()
