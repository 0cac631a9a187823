"""Turn embedding files of C³, Diffusion Bridge and CapDec into a store, as a config says."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from embedding_space.peers.importer import compare_means, import_embeddings
from embedding_space.store import EmbeddingStore
from embedding_space.write_store import check_training_splits

SPLITS = ("train", "val", "test")


def run(config: DictConfig) -> EmbeddingStore:
    """Import as `configs/import_embeddings.yaml` says; what was imported already is re-used."""
    files = {split: config[split] for split in SPLITS if config[split] is not None}
    means = {kind: config[f"{kind}_mean"] for kind in ("text", "image") if config[f"{kind}_mean"] is not None}
    dataset, encoder = config.dataset, config.encoder
    if not files:
        raise ValueError("Name at least one file: train=..., val=... or test=...")
    if encoder.get("kind") != "imported":
        raise ValueError(f"encoder={encoder.name} would encode; use encoder=imported, with encoder.model=... if known")
    splits = (dataset.text_split, dataset.image_mean_split)
    check_training_splits(*splits)  # before gigabytes are read
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, output_dir / "config.yaml", resolve=True)
    store = import_embeddings(dataset.root, encoder.name, files, encoder.model, encoder.pretrained, *splits)
    rows = ", ".join(f"{count:,} {modality}" for modality, count in store.manifest.rows.items())
    print(f"{store.path}: {rows}, {store.dim} dimensions")
    for kind, cosine in compare_means(store, means).items():
        print(f"The {kind} mean in {means[kind]} has cosine {cosine:.6f} with the one computed here")
    return store
