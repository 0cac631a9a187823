"""Train a captioner, on text alone unless told otherwise: python -m image_captioning.train [alignment=c3]."""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/image_captioning.yaml` says, or go on, or re-use a finished run; returns its closing figures.

    Raises ValueError or FileNotFoundError with one sentence for bad options and missing or damaged inputs.
    """
    from image_captioning.training_run import train as run

    return run(config)


main = command("image_captioning", train)

if __name__ == "__main__":
    main()
