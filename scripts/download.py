"""Fetch a pretrained decoder into a folder for decoder.pretrained. See configs/download.yaml.

python scripts/download.py decoder=smollm2
python scripts/download.py decoder=causal_lm decoder.pretrained=Qwen/Qwen3-0.6B output_dir=data/decoders/qwen3
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> object:
    """Fetch as `configs/download.yaml` says; returns the folder."""
    from image_captioning.download import download

    return download(config)


if __name__ == "__main__":
    command("download", run)()
