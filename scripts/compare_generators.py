"""Train a generator of pictures for each method and score what they draw. See configs/compare_generators.yaml.

python scripts/compare_generators.py experiment=demo_generators
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> object:
    """Run as `configs/compare_generators.yaml` says; returns what `results.json` holds."""
    from comparison.compare_generators import compare

    return compare(config)


if __name__ == "__main__":
    command("compare_generators", run)()
