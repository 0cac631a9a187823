"""Zero-shot classification by class names: translated images among class names, translated names among images.

The work behind `scripts/classify.py`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from common.files import write_whole
from common.provenance import run_facts
from embedding_space.encoders.load import reload_encoder
from embedding_space.store import EmbeddingStore
from evaluation.embeddings.labels import read_labels
from evaluation.embeddings.word_lists import word_list
from evaluation.embeddings.zero_shot import class_embeddings, class_prompts, zero_shot_scores
from evaluation.table import Column, Table
from modality_translation.step import check_encoder
from modality_translation.translation import load_translation


def classify(config: DictConfig) -> dict:
    """Classify as `configs/classify.yaml` says; returns what `scores.json` holds."""
    translation, store = load_translation(config.checkpoint), EmbeddingStore(config.image_store)
    check_encoder(translation, "images", store.manifest.encoder, config.image_store, config.checkpoint)
    wanted = None if config.classes is None else word_list("classes", config.classes)
    names, rows, labels = read_labels(config.labels, store, config.split, wanted)
    templates = word_list("templates", config.templates)
    texts, encoder = class_prompts(names, templates), reload_encoder(translation.encoders["texts"])
    encoder.warn_of_cut(texts, "prompts")
    prompts = encoder.encode_texts(texts)
    images = F.normalize(store.images(config.split)[rows], dim=-1)
    sampling = OmegaConf.to_container(config.sampling)

    def score(images: Tensor, prompts: Tensor) -> dict:
        return zero_shot_scores(images, class_embeddings(prompts, len(templates)), labels).to_dict()

    figures = {}
    if "image_to_text" in translation.directions:
        figures["images translated"] = score(translation.translate(images, "image_to_text", **sampling), prompts)
    if "text_to_image" in translation.directions:
        figures["class names translated"] = score(images, translation.translate(prompts, "text_to_image", **sampling))
    if store.joint and translation.encoders["texts"] == translation.encoders["images"]:
        figures["untranslated"] = score(images, prompts)
    results = {
        **run_facts(),
        "trained_on": translation.provenance,
        "evaluated_on": {"dataset": config.dataset.name, "split": config.split, "store_hash": store.hash},
        "uses_pairs": True,
        "sampling": asdict(translation.sampling.changed(sampling)),
        "classes": names,
        "templates": templates,
        **figures,
    }
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    write_whole(output_dir / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    write_whole(output_dir / "scores.json", json.dumps(results, indent=2) + "\n")
    shown = {"top-1 %": "top_1", "top-5 %": "top_5", "per class %": "mean_per_class"}
    if len(names) <= 5:
        del shown["top-5 %"]  # all are
    table = [
        {"rows": name, **{column: 100 * own[key] for column, key in shown.items()}} for name, own in figures.items()
    ]
    print(Table(table, [Column("rows"), *(Column(name, 1, "higher") for name in shown)]).text())
    print(f"{len(labels):,} images, {len(names)} classes, chance {1 / len(names):.1%}. Scores: {output_dir}")
    return results
