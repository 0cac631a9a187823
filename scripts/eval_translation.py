"""Similarity (Sim_txt, Sim_img) and retrieval both ways of a translation. See configs/eval_translation.yaml.

python scripts/eval_translation.py checkpoint=outputs/modality_translation/demo_seed0 split=test
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> dict:
    """Evaluate as `configs/eval_translation.yaml` says; returns what `scores.json` holds."""
    from modality_translation.eval_translation import evaluate

    return evaluate(config)


if __name__ == "__main__":
    command("eval_translation", run)()
