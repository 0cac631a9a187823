"""Make or read a data set's tables, then encode them into an embedding store. See configs/prepare_data.yaml.

python scripts/prepare_data.py dataset=demo encoder=demo_clip
"""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from embedding_space.encoders import OpenClipEncoder
from embedding_space.prepare import write_store
from embedding_space.store import EmbeddingStore
from training.cli import entry_point


def prepare(config: DictConfig) -> EmbeddingStore | None:
    """Prepare as `configs/prepare_data.yaml` says; what is there already is re-used. None when `encode=false`."""
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, output_dir / "config.yaml", resolve=True)
    dataset = config.dataset
    for key in ("text_split", "image_mean_split"):
        if key not in dataset:
            raise ValueError(f"dataset={dataset.name} lacks the key {key}: name a split, as in configs/dataset/tables.yaml")
    make_tables(dataset)
    if not config.encode:
        return None
    encoder = OpenClipEncoder(**config.encoder)
    return write_store(
        dataset.root, encoder, config.encoder.name, dataset.text_split, dataset.image_mean_split
    )


def make_tables(dataset: DictConfig) -> None:
    """Write the tables of a data set that this project can make; those of other kinds must be there."""
    if dataset.kind == "demo_world":
        # Imported here: its sprites are an extra (pip install -e ".[demo]") that other data sets do without.
        from demo_world.world import write_demo_world

        splits = {split: dataset[f"{split}_scenes"] for split in ("pretrain", "train", "val", "test")}
        write_demo_world(Path(dataset.root), **splits, seed=dataset.seed, image_size=dataset.image_size)
    elif dataset.kind != "tables":
        raise ValueError(f"Unknown dataset.kind={dataset.kind!r} of dataset={dataset.name}: known: demo_world, tables")


@hydra.main(version_base="1.3", config_path="../configs", config_name="prepare_data")
@entry_point
def main(config: DictConfig) -> None:
    store = prepare(config)
    if store:
        rows = ", ".join(f"{count:,} {modality}" for modality, count in store.manifest["rows"].items())
        print(f"{store.path}: {rows}, {store.dim} dimensions")


if __name__ == "__main__":
    main()
