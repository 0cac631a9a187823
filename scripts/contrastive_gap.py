"""C³'s explanation of the modality gap as an experiment. See configs/contrastive_gap.yaml.

python scripts/contrastive_gap.py
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> dict:
    """Run as `configs/contrastive_gap.yaml` says; returns what `contrastive_gap.json` holds."""
    from evaluation.geometry.contrastive_gap import contrastive_gap

    return contrastive_gap(config)


if __name__ == "__main__":
    command("contrastive_gap", run)()
