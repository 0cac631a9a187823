"""Zero-shot classification by class names: translated images among class names, translated names among images, and
plain CLIP. See configs/classify.yaml.

python scripts/classify.py dataset=images dataset.name=mine encoder=clip_vit_b32 split=test checkpoint=...
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> dict:
    """Classify as `configs/classify.yaml` says; returns what `scores.json` holds."""
    from modality_translation.classify import classify

    return classify(config)


if __name__ == "__main__":
    command("classify", run)()
