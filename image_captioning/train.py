"""Train a captioner, by default on text only: python -m image_captioning.train [alignment=c3]."""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/image_captioning.yaml` says; see `image_captioning.training_run.train`."""
    from image_captioning.training_run import train as run

    return run(config)


main = command("image_captioning", train)

if __name__ == "__main__":
    main()
