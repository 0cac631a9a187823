"""The geometry of a store's embeddings, raw and after alignments. See configs/analyze_geometry.yaml.

python scripts/analyze_geometry.py 'alignments=[c2_collapse,c3,diffusion_bridge]'
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> dict:
    """Run as `configs/analyze_geometry.yaml` says; returns what `geometry.json` holds."""
    from image_captioning.analyze_geometry import analyze_geometry

    return analyze_geometry(config)


if __name__ == "__main__":
    command("analyze_geometry", run)()
