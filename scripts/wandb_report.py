"""A Weights & Biases report of the runs that commands sent with tracker=wandb. See configs/wandb_report.yaml.

python scripts/wandb_report.py 'options=[training.alignment.noise_std,decoding.beams]'
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> str:
    """Save the report that `configs/wandb_report.yaml` asks for; returns its address."""
    from evaluation.reports.wandb_report import make_report

    return make_report(config)


if __name__ == "__main__":
    command("wandb_report", run)()
