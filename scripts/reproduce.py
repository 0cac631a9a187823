"""Run a paper's table again, and show its numbers beside ours. See configs/reproduce.yaml.

python scripts/reproduce.py table=diffusion_bridge_coco dry_run=true
python scripts/reproduce.py table=c3_coco 'seeds=[0,1,2]'
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> object:
    """Run as `configs/reproduce.yaml` says; returns what `result.json` holds."""
    from comparison.reproduce.run import reproduce

    return reproduce(config)


if __name__ == "__main__":
    command("reproduce", run)()
