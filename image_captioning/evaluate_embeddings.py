"""Retrieval and zero-shot classification by embeddings: before and after alignments, and by a translation.

The work behind `scripts/evaluate_embeddings.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

import image_captioning.run_names  # noqa: F401, registers ${embeddings_name:...}
from alignment.chain import Alignment, in_parts
from common.device import best_device
from common.files import write_json, write_whole
from common.plain import plain
from common.provenance import run_facts
from embedding_space.store import EmbeddingStore
from evaluation.embeddings.classification import Classification
from evaluation.embeddings.retrieval import retrieve
from evaluation.embeddings.tables import AlignmentScores, alignment_table, classification_table
from evaluation.reports.translation_tables import COLUMNS, table_row
from evaluation.table import Table
from image_captioning.load_alignments import captioner_alignment, load_alignment
from modality_translation.evaluate import classify, proposition_1
from modality_translation.measure import SIMILARITY, translation_metrics, untranslated_metrics
from modality_translation.pairs import PairedStores
from modality_translation.step import check_encoder
from modality_translation.translation import load_translation


def evaluate(config: DictConfig) -> dict:
    """Evaluate as `configs/evaluate_embeddings.yaml` says, print the tables and return what `scores.json` holds."""
    store = EmbeddingStore(config.image_store if config.translation else config.store)
    task, has_captions = _classification(config, store), store.tables.has("captions", config.split)
    images = len(store.image_ids(config.split))
    texts = len(store.tables.caption_rows(config.split)) if has_captions else 0
    if task is None and not has_captions:
        raise ValueError(
            f"The split {config.split!r} of {store.path.parent} has no captions to retrieve: give classes=... and "
            "labels=... for zero-shot classification, or another split"
        )
    results = {
        **run_facts(),
        "config": plain(config),
        "evaluated_on": {"dataset": config.dataset.name, "split": config.split},
        "images": images,
    }
    if has_captions:
        results["texts"] = texts
    if task is not None:
        results |= {"classes": task.names, "templates": task.templates}
    tables, notes = {}, []
    if not config.translation or config.alignments or config.checkpoints:
        results |= _alignments(config, task, has_captions, tables, notes)
    if config.translation:
        results["translation"] = _translation(config, task, has_captions, tables, notes)
    notes.append(_note(images, texts, task, config.labels))
    output_dir = Path(config.output_dir)
    write_whole(output_dir / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    write_json(output_dir / "scores.json", results)
    markdown = [f"### {title}\n\n{table.markdown()}" for title, table in tables.items()]
    write_whole(output_dir / "table.md", "\n\n".join([*markdown, *notes]) + "\n")
    text = [f"{title}\n\n{table.text()}" for title, table in tables.items()]
    print("\n\n".join([*text, *notes, f"Scores and tables: {output_dir}"]))
    return results


def _classification(config: DictConfig, store: EmbeddingStore) -> Classification | None:
    if config.classes is None and config.labels is None:
        return None
    labels = config.labels or "captions"
    return Classification.of_split(store, config.split, labels, config.classes, config.templates)


def _alignments(config: DictConfig, task: Classification | None, has_captions: bool, tables: dict, notes: list) -> dict:
    """Before and after each alignment."""
    store, device = EmbeddingStore(config.store), best_device()
    _ = store.dim  # raises where there is no joint space
    images = store.images(config.split).to(device)
    texts = store.texts(config.split).to(device) if has_captions else None
    image_rows = torch.from_numpy(store.pairs(config.split)).to(device) if has_captions else None
    prompts = None if task is None else task.prompts(store.manifest.encoder).to(device)
    total, rows = 1 + len(config.alignments) + len(config.checkpoints), []
    for name, alignment in tqdm(_chains(config, store), total=total, desc="aligning", disable=total < 3):
        inference_side, clean_side = _sides(alignment, device)
        aligned = inference_side(images)
        rows.append(
            AlignmentScores(
                name,
                alignment is not None and alignment.uses_pairs,
                None if texts is None or image_rows is None else retrieve(aligned, clean_side(texts), image_rows),
                task and task.score(aligned[task.rows.to(device)], clean_side(prompts)),
            )
        )
    tables["Before and after alignments"] = alignment_table(rows)
    if has_captions:
        notes.append(
            "R@k: percent of queries; i→t: whether any of an image's captions is among the k nearest of all captions, "
            "and the rank of the best; t→i: likewise of the caption's image. Cosine: of images to their captions."
        )
    return {"store": store.hash, "encoder": store.manifest.encoder, "rows": [row.to_json() for row in rows]}


def _chains(config: DictConfig, store: EmbeddingStore) -> Iterator[tuple[str, Alignment | None]]:
    yield "before", None
    for name in config.alignments:
        yield Path(name).name, load_alignment(name, config, store)
    for checkpoint in config.checkpoints:
        yield Path(checkpoint).name, captioner_alignment(checkpoint, store)


def _sides(alignment: Alignment | None, device: torch.device) -> tuple[Callable, Callable]:
    """What becomes of all image rows and of all text rows."""
    if alignment is None:
        return (lambda rows: rows), (lambda rows: rows)
    alignment = alignment.to(device)
    return partial(in_parts, alignment.inference_side), partial(in_parts, alignment.clean_side)


def _translation(
    config: DictConfig, task: Classification | None, has_captions: bool, tables: dict, notes: list
) -> dict:
    """By a translation, and untranslated where that is possible."""
    translation, stores = load_translation(config.translation), PairedStores(config.image_store, config.text_store)
    for side in ("images", "texts") if has_captions else ("images",):
        check_encoder(translation, side, stores.encoders[side], config[f"{side[:-1]}_store"], config.translation)
    sampling = plain(config.sampling)
    results = {
        "trained_on": translation.provenance,
        **stores.hashes,
        "uses_pairs": True,
        "sampling": asdict(translation.sampling.changed(sampling)),
    }
    if has_captions:
        pairs = stores.pairs(config.split, next(translation.parameters()).device)
        scores = {"translated": translation_metrics(translation, pairs, tuple(translation.directions), **sampling)}
        if stores.is_joint:
            scores["untranslated"] = untranslated_metrics(pairs)
        bounds = proposition_1(translation, pairs, config.alpha, sampling)
        results |= {
            name: {direction: asdict(metrics) for direction, metrics in of_rows.items()}
            for name, of_rows in scores.items()
        }
        results["proposition_1"] = bounds
        for direction in translation.directions:
            rows = [{"rows": name, **table_row(of_rows[direction])} for name, of_rows in scores.items()]
            title = f"By the translation, {direction.replace('_', ' ')} ({SIMILARITY[direction]})"
            tables[title] = Table(rows, COLUMNS)
            for share in bounds.get(direction, ()):
                shares = "{share:.3f} of pairs, {bound:.3f} by Proposition 1".format(**share)
                notes.append(f"{title}: a cosine of {config.alpha} or more for {shares}.")
    if task is not None:
        images = F.normalize(stores.images.images(config.split)[task.rows], dim=-1)
        joint = stores.images.joint and translation.encoders["texts"] == translation.encoders["images"]
        classified = classify(translation, images, task, joint, sampling)
        results["zero_shot"] = {name: asdict(accuracy) for name, accuracy in classified.items()}
        tables["Zero-shot classification by the translation"] = classification_table(classified)
    notes.append(f"The translation {Path(config.translation).name} was trained on image-text pairs.")
    return results


def _note(images: int, texts: int, task: Classification | None, labels: str | None) -> str:
    note = f"{images:,} images" + (f" and {texts:,} captions." if texts else ".")
    if task is not None:
        named = labels in (None, "captions")
        origin = "the classes that captions name alone" if named else f"labels={labels}"
        note += (
            f" Zero-shot: {len(task.labels):,} images of {len(task.names)} classes by {origin}, chance "
            f"{1 / len(task.names):.1%}; per class %: the mean of the classes' top-1; "
            "R-precision %: of as many images as a class has, those nearest to it, the share that is of it."
        )
    return note
