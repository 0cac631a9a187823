"""Preparing a data set: fetch it, make its tables, and encode them or import others' embeddings.

The work behind `scripts/prepare_data.py`, and the demo's first stage. It is here because the demo world's room is above
`embedding_space`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from common.plain import plain
from common.processes import Processes
from embedding_space.datasets import make_tables
from embedding_space.datasets.download import download
from embedding_space.encoders.base import Encoder
from embedding_space.encoders.load import load_encoder
from embedding_space.peers.importer import SPLITS, import_files
from embedding_space.peers.synth_img_cap import import_synth_img_cap
from embedding_space.store import EmbeddingStore
from embedding_space.write_store import check_training_splits, write_store
from evaluation.encoders.check_encoder import check_before_encoding

DOWNLOAD = (None, False, True, "only")


def prepare(config: DictConfig) -> EmbeddingStore | None:
    """Prepare as `configs/prepare_data.yaml` says, re-using what exists. Returns None when nothing is encoded."""
    dataset, processes = config.dataset, Processes()
    if config.download not in DOWNLOAD:
        raise ValueError(f"download={config.download} must be true, false or only")
    for key in ("text_split", "image_mean_split"):
        if key not in dataset:
            raise ValueError(
                f"dataset={dataset.name} lacks the key {key}: name a split, as in configs/dataset/tables.yaml"
            )
    check_training_splits(dataset.text_split, dataset.image_mean_split)
    if config.download != "only":
        _check_import(config, processes)
    processes.run_on_main(lambda: _fetch(config))
    if config.download == "only":
        return None
    if config.features is not None:
        return _import_features(config, processes)
    if _imports_embeddings(config):
        return import_files(config)
    processes.run_on_main(lambda: _make_tables(dataset))
    if not config.encode:
        return None
    encoder = _load_encoder(config, processes)
    store = write_store(
        dataset.root,
        encoder,
        config.encoder.name,
        dataset.text_split,
        dataset.image_mean_split,
        config.patches,
        config.max_unreadable_fraction,
        plain(config)["text_splits"],
        processes,
    )
    if processes.rank == 0:
        print(_summary(store))
    return store


def _imports_embeddings(config: DictConfig) -> bool:
    return config.encoder.get("kind") == "imported" or any(config[split] is not None for split in SPLITS)


def _check_import(config: DictConfig, processes: Processes) -> None:
    """Raise ValueError for an option, or several processes, that an import has no use for."""
    if config.features is not None:
        what, options = "the import of features", ("text_splits", "encode")
    elif _imports_embeddings(config):
        what, options = "the import of embeddings", ("patches", "text_splits", "encode")
        if processes.count > 1:
            raise ValueError(f"{processes.count} processes: embeddings are imported by one, so leave torchrun out")
    else:
        return
    usual = {"patches": False, "text_splits": None, "encode": True}
    for option in options:
        if plain(config)[option] != usual[option]:
            raise ValueError(f"{option}={plain(config)[option]} does nothing for {what}: leave it out")


def _load_encoder(config: DictConfig, processes: Processes) -> Encoder:
    """The encoder, once its weights give the values that are known of them."""
    encoder = processes.run_everywhere(lambda: load_encoder(**config.encoder))
    if config.check_encoder:
        processes.run_on_main(lambda: check_before_encoding(encoder, config.probes_dir))
    return encoder


def _fetch(config: DictConfig) -> None:
    """Keep the config, and fetch the data set's files if asked to."""
    output_dir, dataset = Path(config.output_dir), config.dataset
    output_dir.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, output_dir / "config.yaml", resolve=True)
    if config.download:
        download(dataset, config.keep_archives)
        state = "complete but for what is to be fetched by hand" if dataset.get("by_hand") else "complete"
        print(f"{dataset.source}: {state}")


def _import_features(config: DictConfig, processes: Processes) -> EmbeddingStore:
    """Import SynthImgCap's features as a config says."""
    dataset, files = config.dataset, {split: config[split] for split in SPLITS if config[split] is not None}
    if not files:
        raise ValueError("Name at least one annotation file of the features: train=..., val=... or test=...")
    if config.encoder.get("kind") == "imported":
        raise ValueError(
            f"encoder={config.encoder.name} encodes nothing, and the captions of features={config.features} must be "
            "encoded: choose the encoder that made the features, such as encoder=clip_vit_b32"
        )
    encoder = _load_encoder(config, processes)
    splits = (dataset.text_split, dataset.image_mean_split)
    store = import_synth_img_cap(
        dataset.root, files, config.features, config.vocabulary, encoder, *splits, processes=processes
    )
    if processes.rank == 0:
        print(_summary(store))
    return store


def _summary(store: EmbeddingStore) -> str:
    manifest = store.manifest
    held = [f"{count:,} {kind} of {manifest.dim_of(kind)} dimensions" for kind, count in manifest.rows.items()]
    if manifest.text_splits is not None:
        count = len(store.tables.rows_of_texts(manifest.text_splits))
        held.append(f"of which the {count:,} texts of {', '.join(manifest.text_splits)} are encoded")
    if manifest.patches:
        held.append("{} patch tokens of {} dimensions an image".format(*manifest.patches))
    if manifest.patch_width:
        held.append(f"their features of {manifest.patch_width} dimensions")
    if manifest.unreadable:
        held.append(f"without {len(manifest.unreadable):,} that could not be read (unreadable.jsonl)")
    if manifest.cut_texts:
        held.append(f"{manifest.cut_texts:,} texts being longer than the encoder takes and read up to there")
    for kind, what in (("text", "captions"), ("image", "photos")):
        split = manifest.mean_split(kind)
        if split is not None and not store.has_mean(kind):
            held.append(f"no {kind} mean, since there are no {what} of split {split}")
    return f"{store.path}: {', '.join(held)}"


def _make_tables(dataset: DictConfig) -> None:
    """Write the data set's tables."""
    if dataset.kind in WORLDS:
        world = WORLDS[dataset.kind](dataset)
        print(
            f"{dataset.root}: {world['heldout_overlap_before']:.1%} of the validation and test captions were word for "
            f"word in the text corpus; {world['corpus_captions_dropped']:,} captions were dropped from it, which "
            f"leaves {world['heldout_overlap_after']:.1%}"
        )
    else:
        make_tables(dataset)


# Imported where they are written: sprites and PyAV are an extra (pip install -e ".[demo]") that other data sets do
# without.


def _pictures(dataset: DictConfig) -> dict:
    from demo_world.world import write_demo_world

    return write_demo_world(Path(dataset.root), **_scenes(dataset), image_size=dataset.image_size)


def _videos(dataset: DictConfig) -> dict:
    from demo_world.motion.world import write_video_world

    size = {"frames": dataset.frames, "image_size": dataset.image_size}
    return write_video_world(Path(dataset.root), **_scenes(dataset), **size)


def _sounds(dataset: DictConfig) -> dict:
    from demo_world.sounds.world import write_sound_world

    return write_sound_world(Path(dataset.root), **_scenes(dataset))


def _scenes(dataset: DictConfig) -> dict[str, Any]:
    """Numbers of scenes of the splits, and the seed."""
    return {
        **{split: dataset[f"{split}_scenes"] for split in ("pretrain", "train", "val", "test")},
        "seed": dataset.seed,
    }


# kind of data set -> what generates it
WORLDS = {"demo_world": _pictures, "demo_videos": _videos, "demo_sounds": _sounds}
