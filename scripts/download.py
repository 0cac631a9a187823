"""Fetch a data set's files into dataset.source; run again to go on. See configs/download.yaml and data/README.md.

python scripts/download.py dataset=coco
"""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from common.cli import command


def fetch_dataset(config: DictConfig) -> None:
    """Fetch as `configs/download.yaml` says."""
    from embedding_space.datasets.download import download

    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, output_dir / "config.yaml", resolve=True)
    download(config.dataset, config.keep_archives)
    state = "complete but for what is to be fetched by hand" if config.dataset.get("by_hand") else "complete"
    print(f"{config.dataset.source}: {state}. Next: python scripts/prepare_data.py dataset={config.dataset.name}")


def main() -> None:
    if {"--help", "-h"} & set(sys.argv) and not any(argument.startswith("dataset=") for argument in sys.argv):
        sys.argv.append("dataset=coco")  # help needs the options of some data set
    command("download", fetch_dataset)()


if __name__ == "__main__":
    main()
