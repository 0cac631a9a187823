"""Turn embedding files of C³, Diffusion Bridge and CapDec into a store, as a config says."""

from __future__ import annotations

from omegaconf import DictConfig

from embedding_space.peers.importer import compare_means, import_embeddings
from embedding_space.store import EmbeddingStore
from embedding_space.write_store import check_training_splits

SPLITS = ("train", "val", "test")


def import_files(config: DictConfig) -> EmbeddingStore:
    """Import the files `train`, `val` and `test` as a config says; what was imported already is re-used."""
    files = {split: config[split] for split in SPLITS if config[split] is not None}
    means = {kind: config[f"{kind}_mean"] for kind in ("text", "image") if config[f"{kind}_mean"] is not None}
    dataset, encoder = config.dataset, config.encoder
    if not files:
        raise ValueError("Name at least one file: train=..., val=... or test=...")
    if encoder.get("kind") != "imported":
        raise ValueError(f"encoder={encoder.name} would encode; use encoder=imported, with encoder.model=... if known")
    splits = (dataset.text_split, dataset.image_mean_split)
    check_training_splits(*splits)  # before gigabytes are read
    store = import_embeddings(dataset.root, encoder.name, files, encoder.model, encoder.pretrained, *splits)
    rows = ", ".join(f"{count:,} {modality}" for modality, count in store.manifest.rows.items())
    print(f"{store.path}: {rows}, {store.dim} dimensions")
    for kind, cosine in compare_means(store, means).items():
        print(f"The {kind} mean in {means[kind]} has cosine {cosine:.6f} with the one computed here")
    return store
