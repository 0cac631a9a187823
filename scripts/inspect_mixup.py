"""Which patches a PCM-Net gives to words, and whether they are the faulty ones. See configs/inspect_mixup.yaml.

python scripts/inspect_mixup.py checkpoint=outputs/pcm_net/demo_synthetic_pcm_net_seed0
python scripts/inspect_mixup.py checkpoint=outputs/pcm_net/flickr8k_photos_retrieval_pcm_net_seed0 photos=my_photos
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> dict:
    """Run as `configs/inspect_mixup.yaml` says; returns what `mixup.json` holds."""
    from pcm_net.inspect_mixup import inspect_mixup

    return inspect_mixup(config)


if __name__ == "__main__":
    command("inspect_mixup", run)()
