"""Fetch a data set's files into dataset.source; run again to go on. See configs/download.yaml and data/README.md.

python scripts/download.py dataset=coco
"""

from __future__ import annotations

from omegaconf import DictConfig

from embedding_space.datasets.download import download
from training.cli import command


def fetch_dataset(config: DictConfig) -> None:
    """Fetch as `configs/download.yaml` says."""
    download(config.dataset, config.keep_archives)
    print(f"{config.dataset.source}: complete. Next: python scripts/prepare_data.py dataset={config.dataset.name}")


main = command("download", fetch_dataset)

if __name__ == "__main__":
    main()
