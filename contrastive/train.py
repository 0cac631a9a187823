"""python -m contrastive.train: train a dual encoder (CLIP) on image-text pairs, or heads over two frozen towers."""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/contrastive.yaml` says; returns the validation metrics of the last evaluation."""
    from contrastive.training_run import train as run

    return run(config)


if __name__ == "__main__":
    command("contrastive", train)()
