"""Look into the mix-up of a trained PCM-Net: which patches it selects, and whether they are faulty.

The work behind `scripts/inspect_mixup.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from omegaconf import DictConfig, OmegaConf

from common.files import write_json
from common.provenance import run_facts
from common.randomness import evenly_spaced
from embedding_space.pictures import open_picture
from embedding_space.store import EmbeddingStore
from evaluation.captions.patch_selection import PatchSelection
from evaluation.reports.plots import ORANGE, save_plot
from evaluation.table import Table
from image_captioning.inference_inputs import check_encoder
from pcm_net.captioner import PCMNet
from pcm_net.inspect_photos import inspect_photos
from pcm_net.mixup import MixedPatches
from synthetic_images.defects import LOCAL_KINDS, defect_patches, read_defects


def inspect_mixup(config: DictConfig) -> dict:
    """Run as `configs/inspect_mixup.yaml` says; returns what `mixup.json` holds.

    Raises:
        ValueError: the checkpoint, the store or the photos are refused.
        FileNotFoundError: they are missing.
    """
    if config.photos:
        return inspect_photos(config)
    captioner, store = PCMNet.load(config.checkpoint), EmbeddingStore(config.store)
    check_encoder(captioner, store)
    images = store.images(config.split)
    rows = evenly_spaced(len(images), min(config.images, len(images)))
    mixed = captioner.mixup.select(images[rows], store.patches(config.split).take(rows))
    ids = [store.image_ids(config.split)[row] for row in rows.tolist()]
    results = {
        **run_facts(),
        "checkpoint": str(config.checkpoint),
        "store": store.hash,
        "split": config.split,
        "images": len(rows),
        "selected_patches_per_image": mixed.selected.sum(dim=1).float().mean().item(),
        "salient_concepts": _frequent(captioner.concepts, mixed.salient),
        "faults": fault_shares(store.path.parent, ids, mixed.selected.numpy()),
    }
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, output_dir / "config.yaml", resolve=True)
    write_json(output_dir / "mixup.json", results)
    shown = evenly_spaced(len(rows), min(config.pictures, len(rows)))
    if len(shown):
        table_rows = store.tables.image_rows(config.split)[rows[shown].numpy()]
        paths = store.tables.image_paths(table_rows)
        selections = captioner.named(MixedPatches(*(part[shown] for part in mixed)))
        save_plot(plot_selection(paths, selections), output_dir, "mixup")
    if results["faults"] is None:
        print(
            f"{results['selected_patches_per_image']:.2f} patches per image are selected. There is no table of faults: "
            f"{store.path.parent} has no defects.parquet with these images, which painter=demo alone writes"
        )
    else:
        print(_table(results["faults"]).text())
    print(f"Figures and numbers: {output_dir}")
    return results


def fault_shares(root: Path, image_ids: list[str], selected: np.ndarray) -> dict[str, dict[str, float]] | None:
    """How often selected patches are faulty ones; None where no fault of these images is on record.

    Args:
        root: the data set's folder.
        selected: (N, P) bool, of these images.

    Returns:
        For each kind of fault and for `any`: `faulty`, the share of all patches that are; `selected_of_faulty`, the
        share of faulty patches that are selected; `selected_of_sound`, that of the others; `ratio`, of these two.
    """
    try:
        defects = read_defects(root)
    except FileNotFoundError:
        return None
    grid = math.isqrt(selected.shape[1])
    shares = {}
    for name, kinds in {"any": LOCAL_KINDS, **{kind: (kind,) for kind in LOCAL_KINDS}}.items():
        faulty = defect_patches(defects, grid, image_ids, kinds)
        if not faulty.any() or faulty.all():
            continue
        of_faulty, of_sound = float(selected[faulty].mean()), float(selected[~faulty].mean())
        shares[name] = {
            "faulty": float(faulty.mean()),
            "selected_of_faulty": of_faulty,
            "selected_of_sound": of_sound,
            "ratio": of_faulty / of_sound if of_sound else math.inf,
        }
    return shares or None


def plot_selection(paths: Sequence[Path], selections: Sequence[PatchSelection], columns: int = 4) -> Figure:
    """Pictures with their selected patches in color, and the first concepts of each."""
    columns = min(columns, len(paths))
    rows = -(-len(paths) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, path, selection in zip(axes, paths, selections, strict=False):
        picture = open_picture(path)
        axis.imshow(picture, interpolation="lanczos")
        for left, top, *sides in selection.boxes(picture.width, picture.height):
            corner = (left - 0.5, top - 0.5)  # of the first pixel, which is around 0
            axis.add_patch(Rectangle(corner, *sides, facecolor=ORANGE, edgecolor=ORANGE, alpha=0.45))
        axis.set_title(selection.title, fontsize=9)
    return figure


def _frequent(names: list[str], salient: torch.Tensor) -> dict[str, float]:
    """{concept: the share of images that it is salient in} of the ten most frequent."""
    counts = torch.bincount(salient.flatten(), minlength=len(names)).float() / len(salient)
    order = counts.argsort(descending=True)[:10].tolist()
    return {names[concept]: round(counts[concept].item(), 4) for concept in order}


def _table(faults: dict[str, dict[str, float]]) -> Table:
    columns = {
        "patches": "faulty",
        "selected of the faulty": "selected_of_faulty",
        "of the others": "selected_of_sound",
    }
    return Table(
        [
            {"fault": name, **{title: f"{100 * shares[key]:.1f} %" for title, key in columns.items()},
             "ratio": f"{shares['ratio']:.2f}"}
            for name, shares in faults.items()
        ]
    )  # fmt: skip
