"""Copy a trained captioner or image generator into a folder to share, in half precision. See configs/export.yaml.

python scripts/export.py checkpoint=outputs/image_captioning/demo_c3_seed0 to=pretrained/mine
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> object:
    """Export as `configs/export.yaml` says; returns the folder."""
    from image_captioning.export import export
    from image_generation.export import export_generator, is_generator

    return export_generator(config) if is_generator(config.checkpoint) else export(config)


if __name__ == "__main__":
    command("export", run)()
