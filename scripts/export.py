"""Copy a trained captioner into a folder to share: half-size weights, tokenizer, manifest. See configs/export.yaml.

python scripts/export.py checkpoint=outputs/image_captioning/demo_c3_seed0 to=pretrained/mine
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> object:
    """Export as `configs/export.yaml` says; returns the folder."""
    from image_captioning.export import export

    return export(config)


if __name__ == "__main__":
    command("export", run)()
