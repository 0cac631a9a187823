"""Look into the mix-up of a trained PCM-Net: which patches it selects, and whether they are faulty.

The work behind `scripts/inspect_mixup.py`.
"""

from __future__ import annotations

import math
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
from evaluation.reports.plots import ORANGE, save_plot
from evaluation.table import Table
from pcm_net.captioner import PCMNet
from pcm_net.mixup import MixedPatches
from synthetic_images.defects import LOCAL_KINDS, defect_patches, read_defects

IMAGES_AT_ONCE = 1024


def inspect_mixup(config: DictConfig) -> dict:
    """Run as `configs/inspect_mixup.yaml` says; returns what `mixup.json` holds.

    Raises:
        ValueError: the checkpoint or the store is refused.
        FileNotFoundError: they are missing.
    """
    captioner, store = PCMNet.load(config.checkpoint), EmbeddingStore(config.store)
    images = store.images(config.split)
    rows = evenly_spaced(len(images), min(config.images, len(images)))
    mixed = mix_up(captioner, store, config.split, rows)
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
        save_plot(plot_selection(paths, captioner, MixedPatches(*(part[shown] for part in mixed))), output_dir, "mixup")
    print(_table(results).text())
    print(f"Figures and numbers: {output_dir}")
    return results


@torch.no_grad()
def mix_up(captioner: PCMNet, store: EmbeddingStore, split: str, rows: torch.Tensor) -> MixedPatches:
    """The mix-up of the images `rows` (N,) of a split, on the CPU; text maps are left out to save memory."""
    images, patches = store.images(split), store.patches(split)
    parts = []
    for part in rows.split(IMAGES_AT_ONCE):
        mixed = captioner.mixup(images[part].to(captioner.device), patches[part].to(captioner.device))
        parts.append(MixedPatches(mixed.text_map[:, :, :0].cpu(), mixed.selected.cpu(), mixed.salient.cpu()))
    return MixedPatches(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def fault_shares(root: Path, image_ids: list[str], selected: np.ndarray) -> dict[str, dict[str, float]] | None:
    """How often selected patches are faulty ones; None where nobody knows the faults.

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
    return shares


def plot_selection(paths: list[Path], captioner: PCMNet, mixed: MixedPatches, columns: int = 4) -> Figure:
    """Pictures with the selected patches framed, and the names of the salient concepts."""
    columns, grid = min(columns, len(paths)), math.isqrt(captioner.patch_shape[0])
    rows = -(-len(paths) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, path, selected, salient in zip(axes, paths, mixed.selected, mixed.salient, strict=False):
        picture = open_picture(path)
        axis.imshow(picture, interpolation="lanczos")
        width, height = picture.width / grid, picture.height / grid
        for place in selected.nonzero()[:, 0].tolist():
            row, column = divmod(place, grid)
            corner = (column * width - 0.5, row * height - 0.5)
            axis.add_patch(Rectangle(corner, width, height, facecolor=ORANGE, edgecolor=ORANGE, alpha=0.45))
        axis.set_title(", ".join(captioner.concepts[concept] for concept in salient[:3].tolist()), fontsize=9)
    return figure


def _frequent(names: list[str], salient: torch.Tensor) -> dict[str, float]:
    """{concept: the share of images that it is salient in} of the ten most frequent."""
    counts = torch.bincount(salient.flatten(), minlength=len(names)).float() / len(salient)
    order = counts.argsort(descending=True)[:10].tolist()
    return {names[concept]: round(counts[concept].item(), 4) for concept in order}


def _table(results: dict) -> Table:
    if results["faults"] is None:
        count = results["selected_patches_per_image"]
        return Table([{"measure": "selected patches per image", "value": f"{count:.2f}"}])
    columns = {
        "patches": "faulty",
        "selected of the faulty": "selected_of_faulty",
        "of the others": "selected_of_sound",
    }
    return Table(
        [
            {"fault": name, **{title: f"{100 * shares[key]:.1f} %" for title, key in columns.items()},
             "ratio": f"{shares['ratio']:.2f}"}
            for name, shares in results["faults"].items()
        ]
    )  # fmt: skip
