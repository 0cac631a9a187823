"""Train translations under one protocol and hold them against each other and against baselines.
See configs/compare_translations.yaml.

python scripts/compare_translations.py dataset=demo 'seeds=[0,1,2]'
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> object:
    """Run as `configs/compare_translations.yaml` says; returns what `results.json` holds."""
    from comparison.compare_translations import compare

    return compare(config)


if __name__ == "__main__":
    command("compare_translations", run)()
