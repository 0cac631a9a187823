"""A figure of finished evaluations against the option in which they differ, or two. See configs/plot_sweep.yaml.

python scripts/plot_sweep.py 'evaluations=outputs/evaluation/demo_diffusion_bridge_seed0_test_greedy_image_timestep*'
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> dict:
    """Run as `configs/plot_sweep.yaml` says; returns what `sweep.json` holds."""
    from evaluation.reports.plot_sweep import plot_sweep

    return plot_sweep(config)


if __name__ == "__main__":
    command("plot_sweep", run)()
