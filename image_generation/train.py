"""Train a generator of pictures on pictures alone: python -m image_generation.train [alignment=c3]."""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/image_generation.yaml` says; see `image_generation.training_run.train`."""
    from image_generation.training_run import train as run

    return run(config)


main = command("image_generation", train)

if __name__ == "__main__":
    main()
