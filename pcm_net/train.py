"""Train PCM-Net on captions and their painted pictures: python -m pcm_net.train [mixup.pairs=0]."""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/pcm_net.yaml` says; see `pcm_net.training_run.train`."""
    from pcm_net.training_run import train as run

    return run(config)


main = command("pcm_net", train)

if __name__ == "__main__":
    main()
