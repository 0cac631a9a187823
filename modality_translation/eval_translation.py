"""Similarity (Sim_txt, Sim_img) and retrieval both ways of a translation.

The work behind `scripts/eval_translation.py`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from common.files import write_whole
from common.provenance import run_facts
from evaluation.reports.translation_tables import COLUMNS, table_row
from evaluation.table import Table
from modality_translation.bound import cosine_bound
from modality_translation.measure import SIMILARITY, share_above, translation_metrics, untranslated_metrics
from modality_translation.models import ConditionalEncoderDecoder
from modality_translation.pairs import PairedRows, PairedStores
from modality_translation.step import check_encoder
from modality_translation.translation import Translation, load_translation


def evaluate(config: DictConfig) -> dict:
    """Evaluate as `configs/eval_translation.yaml` says; returns what `scores.json` holds."""
    translation = load_translation(config.checkpoint)
    stores = PairedStores(config.image_store, config.text_store)
    for side, path in (("images", config.image_store), ("texts", config.text_store)):
        check_encoder(translation, side, stores.encoders[side], path, config.checkpoint)
    device = next(translation.parameters()).device
    pairs = stores.pairs(config.split, device)
    sampling = OmegaConf.to_container(config.sampling)
    found = {"translated": translation_metrics(translation, pairs, tuple(translation.directions), **sampling)}
    if stores.is_joint:
        found["untranslated"] = untranslated_metrics(pairs)
    results = {
        **run_facts(),
        "trained_on": translation.provenance,
        "evaluated_on": {"dataset": config.dataset.name, "split": config.split, **stores.hashes},
        "uses_pairs": True,
        "sampling": asdict(translation.sampling.changed(sampling)),
        **found,
        "proposition_1": _bounds(translation, pairs, config.alpha, sampling),
    }
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    write_whole(output_dir / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    write_whole(output_dir / "scores.json", json.dumps(results, indent=2) + "\n")
    for direction in translation.directions:
        print(f"\n{direction.replace('_', ' ')} ({SIMILARITY[direction]}):")
        print(Table([{"rows": name, **table_row(own[direction])} for name, own in found.items()], COLUMNS).text())
        for share in results["proposition_1"].get(direction, ()):
            print("cosine of {alpha} or more: {share:.3f} of pairs, {bound:.3f} by Proposition 1".format(**share))
    print(f"\nScores: {output_dir / 'scores.json'}")
    return results


def _bounds(translation: Translation, pairs: PairedRows, alpha: float, sampling: dict) -> dict[str, list[dict]]:
    """Proposition 1 next to what it bounds; none for models and settings without both terms of equation 5."""
    chosen = translation.sampling.changed(sampling)
    bounds = {}
    for name, model in translation.directions.items():
        if not isinstance(model, ConditionalEncoderDecoder) or chosen.terms != "both" or chosen.gamma == 0:
            continue
        conditions, targets, _ = pairs.between(name)
        with torch.no_grad():
            projected = model.projection(conditions)
        # The bound is of one target; its mean over all is that of a target drawn at random.
        energies = projected.square().sum(dim=-1).clamp(max=1).double().cpu().numpy()
        bound = cosine_bound(alpha, energies, chosen.gamma, targets.shape[1]).mean().item()
        share = share_above(translation, pairs, name, alpha, **sampling)
        bounds[name] = [{"alpha": alpha, "share": share, "bound": bound}]
    return bounds
