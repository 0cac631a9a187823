"""Turn embedding files of C³, Diffusion Bridge and CapDec into a store. See configs/import_embeddings.yaml.

python scripts/import_embeddings.py train=oscar_split_ViT-B_32_train.pkl val=... test=... dataset.name=coco_c3
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def run(config: DictConfig) -> object:
    """Import as `configs/import_embeddings.yaml` says; what was imported already is re-used."""
    from embedding_space.peers.import_embeddings import run

    return run(config)


main = command("import_embeddings", run)

if __name__ == "__main__":
    main()
