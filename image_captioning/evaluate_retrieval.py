"""Retrieval and zero-shot classification before and after alignments.

The work behind `scripts/evaluate_retrieval.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from tqdm import tqdm

from alignment.chain import Alignment, in_parts
from common.device import best_device
from common.files import write_whole
from common.provenance import run_facts
from embedding_space.encoders.load import reload_encoder
from embedding_space.store import EmbeddingStore
from evaluation.embeddings.labels import read_labels
from evaluation.embeddings.retrieval import retrieval_figures
from evaluation.embeddings.word_lists import word_list
from evaluation.embeddings.zero_shot import class_embeddings, class_prompts, zero_shot_scores
from evaluation.table import Column, Table
from image_captioning.load_alignments import captioner_alignment, load_alignment

RECALLS = {"R@1": "recall_at_1", "R@5": "recall_at_5", "R@10": "recall_at_10"}


def evaluate(config: DictConfig) -> dict:
    """Measure as `configs/evaluate_retrieval.yaml` says, print the table and return what `retrieval.json` holds."""
    store = EmbeddingStore(config.store)
    device = best_device()
    images, texts = store.images(config.split).to(device), store.texts(config.split).to(device)
    image_rows = torch.from_numpy(store.pairs(config.split)).to(device)
    task = _zero_shot(config, store)
    total, rows = 1 + len(config.alignments) + len(config.checkpoints), []
    for name, alignment in tqdm(_alignments(config, store), total=total, desc="aligning", disable=total < 3):
        image_side, text_side = _sides(alignment, device)
        aligned = image_side(images)
        row = {"alignment": name, **retrieval_figures(aligned, text_side(texts), image_rows)}
        if task is not None:
            prompts, labelled, labels = task
            classes = class_embeddings(text_side(prompts.to(device)), len(word_list("templates", config.templates)))
            row["zero_shot"] = zero_shot_scores(aligned[labelled], classes, labels).to_dict()
        rows.append(row)
    figures = {
        **run_facts(),
        "config": OmegaConf.to_container(config, resolve=True),
        "store": store.hash,
        "encoder": store.manifest["encoder"],
        "images": len(images),
        "texts": len(texts),
        "rows": rows,
    }
    output_dir, table = Path(config.output_dir), results_table(rows)
    output_dir.mkdir(parents=True, exist_ok=True)
    write_whole(output_dir / "retrieval.json", json.dumps(figures, indent=2) + "\n")
    write_whole(output_dir / "table.md", f"{table.markdown()}\n\n{_note(figures)}\n")
    print(f"{table.text()}\n\n{_note(figures)}\nTable and figures: {output_dir}")
    return figures


def results_table(rows: list[Mapping]) -> Table:
    """One row an alignment; recalls and accuracies in percent."""
    columns, shown = [Column("alignment")], [{"alignment": row["alignment"]} for row in rows]
    for arrow, direction in (("i→t", "image_to_text"), ("t→i", "text_to_image")):
        columns += [Column(f"{arrow} {name}", 1, "higher") for name in RECALLS]
        columns.append(Column(f"{arrow} median", 1, "lower"))
        for line, row in zip(shown, rows, strict=True):
            line |= {f"{arrow} {name}": 100 * row[direction][key] for name, key in RECALLS.items()}
            line[f"{arrow} median"] = row[direction]["median_rank"]
    columns += [Column("cosine", 3, "higher"), Column("centroids apart", 3, "lower")]
    for line, row in zip(shown, rows, strict=True):
        line |= {"cosine": row["paired_cosine"], "centroids apart": row["centroid_distance"]}
        if "zero_shot" in row:
            line |= {f"top-{k} %": 100 * row["zero_shot"][f"top_{k}"] for k in (1, 5)}
            line["per class %"] = 100 * row["zero_shot"]["mean_per_class"]
    if "zero_shot" in rows[0]:
        columns += [Column(name, 1, "higher") for name in ("top-1 %", "top-5 %", "per class %")]
    return Table(shown, columns)


def _note(figures: Mapping) -> str:
    note = (
        f"{figures['images']:,} images and {figures['texts']:,} captions. R@k: percent of queries; i→t: whether any of "
        "an image's captions is among the k nearest of all captions, and the rank of the best; t→i: likewise of the "
        "caption's image. Cosine: of images to their captions."
    )
    if "zero_shot" in figures["rows"][0]:
        found = figures["rows"][0]["zero_shot"]
        labels = figures["config"]["labels"]
        origin = "the classes that references name alone" if labels == "captions" else f"labels={labels}"
        note += (
            f" Zero-shot: {found['images']:,} images of {found['classes']} classes by {origin}; per class %: the mean "
            "of the classes' top-1."
        )
    return note


def _alignments(config: DictConfig, store: EmbeddingStore) -> Iterator[tuple[str, Alignment | None]]:
    yield "before", None
    for name in config.alignments:
        yield Path(name).name, load_alignment(name, config, store)
    for checkpoint in config.checkpoints:
        yield Path(checkpoint).name, captioner_alignment(checkpoint, store)


def _sides(
    alignment: Alignment | None, device: torch.device
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """What becomes of all image rows and of all text rows."""
    if alignment is None:
        return (lambda rows: rows), (lambda rows: rows)
    alignment = alignment.to(device)
    return partial(in_parts, alignment.inference_side), partial(in_parts, alignment.clean_side)


def _zero_shot(config: DictConfig, store: EmbeddingStore) -> tuple[Tensor, Tensor, Tensor] | None:
    """Raw prompt embeddings (C x T, D), the rows of the images that have a class, and those classes' numbers."""
    if config.classes is None:
        return None
    templates, classes = (word_list(option, config[option]) for option in ("templates", "classes"))
    classes, rows, labels = read_labels(config.labels, store, config.split, classes)
    prompts, encoder = class_prompts(classes, templates), reload_encoder(store.manifest["encoder"])
    encoder.warn_of_cut(prompts, "prompts")
    return encoder.encode_texts(prompts), rows, labels
