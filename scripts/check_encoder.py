"""Check that an encoder is the one that it is called: published values, and a sample of pairs.
See configs/check_encoder.yaml.

python scripts/check_encoder.py encoder=clip_vit_b32
python scripts/check_encoder.py encoder=clip_vit_b32 pictures=my_folder dataset=flickr8k
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> object:
    """Check as `configs/check_encoder.yaml` says; returns the checks."""
    from evaluation.encoders.check_encoder import check_encoder

    return check_encoder(config)


if __name__ == "__main__":
    command("check_encoder", run)()
