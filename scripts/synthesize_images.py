"""Give a data set's text pictures, and write both as a new data set. See configs/synthesize_images.yaml.

python scripts/synthesize_images.py dataset=demo painter=demo painter.unfaithfulness=0.5
torchrun --nproc_per_node 8 scripts/synthesize_images.py dataset=coco painter=stable_diffusion
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> object:
    """Paint as `configs/synthesize_images.yaml` says; returns the new data set's provenance."""
    from synthetic_images.synthesize import synthesize

    return synthesize(config)


if __name__ == "__main__":
    command("synthesize_images", run)()
