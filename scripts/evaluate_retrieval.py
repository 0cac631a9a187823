"""Retrieval and zero-shot classification before and after alignments. See configs/evaluate_retrieval.yaml.

python scripts/evaluate_retrieval.py dataset=demo encoder=demo_clip 'alignments=[c3,diffusion_bridge]'
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> dict:
    """Measure as `configs/evaluate_retrieval.yaml` says, print the table and return what `retrieval.json` holds."""
    from image_captioning.evaluate_retrieval import evaluate

    return evaluate(config)


if __name__ == "__main__":
    command("evaluate_retrieval", run)()
