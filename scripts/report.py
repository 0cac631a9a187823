"""The report of a finished comparison, as one HTML file, or a sweep's plot. See configs/report.yaml.

python scripts/report.py comparison=outputs/compare_methods/flickr8k_photos pictures=120
python scripts/report.py 'sweep=outputs/evaluation/demo_diffusion_bridge_seed0_test_greedy_image_*'
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> object:
    """Write what `configs/report.yaml` says; returns where it is."""
    from evaluation.reports.report_command import report

    return report(config)


if __name__ == "__main__":
    command("report", run)()
