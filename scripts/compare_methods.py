"""Train methods under one protocol, evaluate them on the same images and test their differences.
See configs/compare_methods.yaml.

python scripts/compare_methods.py dataset=flickr8k_photos encoder=photo_clip 'seeds=[0,1,2]' baseline=c3
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> object:
    """Run as `configs/compare_methods.yaml` says; returns what `results.json` holds."""
    from comparison.compare_methods import compare

    return compare(config)


if __name__ == "__main__":
    command("compare_methods", run)()
