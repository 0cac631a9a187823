"""python -m modality_translation.train: learn to translate between two embedding spaces from image-text pairs."""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/modality_translation.yaml` says; returns the validation metrics of the last evaluation."""
    from modality_translation.training_run import train as run

    return run(config)


main = command("modality_translation", train)

if __name__ == "__main__":
    main()
