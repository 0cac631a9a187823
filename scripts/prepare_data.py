"""Fetch a data set, make or read its tables, then encode them, or import others' embeddings, into an embedding store.

See configs/prepare_data.yaml and data/README.md.

python scripts/prepare_data.py dataset=demo encoder=demo_clip
python scripts/prepare_data.py dataset=coco download=only
torchrun --nproc_per_node 8 scripts/prepare_data.py dataset=coco encoder=clip_vit_l14 encoder.precision=fp16
python scripts/prepare_data.py dataset=tables dataset.name=coco_c3 encoder=imported train=oscar_split_ViT-B_32_train.pkl
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> object:
    """Prepare as `configs/prepare_data.yaml` says; returns the store, or None when nothing is encoded."""
    from comparison.prepare_data import prepare

    return prepare(config)


if __name__ == "__main__":
    command("prepare_data", run)()
