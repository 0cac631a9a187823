"""Retrieval and zero-shot classification by embeddings: before and after alignments, and by a translation. See
configs/evaluate_embeddings.yaml.

python scripts/evaluate_embeddings.py dataset=demo encoder=demo_clip 'alignments=[c3,diffusion_bridge]'
python scripts/evaluate_embeddings.py translation=outputs/modality_translation/demo_seed0 'classes=[dog,cat]'
"""

from __future__ import annotations

from omegaconf import DictConfig

import image_captioning.run_names  # noqa: F401, registers ${embeddings_name:...}
from common.cli import command


def run(config: DictConfig) -> dict:
    """Evaluate as `configs/evaluate_embeddings.yaml` says, print the tables and return what `scores.json` holds."""
    from image_captioning.evaluate_embeddings import evaluate

    return evaluate(config)


if __name__ == "__main__":
    command("evaluate_embeddings", run)()
