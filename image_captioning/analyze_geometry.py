"""The geometry of a store's embeddings, raw and after alignments.

The work behind `scripts/analyze_geometry.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from alignment.chain import Alignment
from common.files import write_whole
from common.plain import plain
from common.provenance import run_facts
from common.randomness import drawn_rows
from embedding_space.store import EmbeddingStore
from evaluation.geometry.analysis import Geometry, analyze
from evaluation.geometry.plots import LOOKS, geometry_figures, origin
from evaluation.geometry.sample import Embeddings
from evaluation.reports.plots import footnote, plot_clouds, plot_embedding_pca, save_plot, subsample
from evaluation.table import Column, Table
from image_captioning.load_alignments import aligned, load_alignment

RAW = "raw"


def analyze_geometry(config: DictConfig) -> dict:
    """Run as `configs/analyze_geometry.yaml` says; returns what `geometry.json` holds."""
    facts, place = run_facts(), _umap(config.seed) if config.umap else None
    packages = ("numpy", "scipy", *(("umap-learn",) if config.umap else ()))
    facts["versions"] += "".join(f", {name} {version(name)}" for name in packages)
    store = EmbeddingStore(config.store)
    alignments = _alignments(config, store)
    raw, sample = sample_store(store, config)
    output_dir = Path(config.output_dir)
    clouds, states = {}, {}
    for name in tqdm([RAW, *alignments], unit="state"):
        rows = raw if name == RAW else aligned(raw, alignments[name], config.text_noise)
        states[name] = analyze(rows, config.variance_share, config.draws)
        clouds[name] = (subsample(rows.texts, config.points), subsample(rows.images, config.points))
    results = {
        **facts,
        "config": plain(config),
        "store": {"path": str(config.store), "hash": store.hash, "encoder": store.manifest.encoder},
        "sample": sample,
        "alignments": {
            name: {"steps": chain.options(), "hash": chain.hash, "estimates": chain.estimates}
            for name, chain in alignments.items()
        },
        "states": {name: state.to_json() for name, state in states.items()},
    }
    write_whole(output_dir / "geometry.json", json.dumps(results, indent=1) + "\n")

    note = f"{config.dataset.name}, {store.path.name}, split {sample['split']}: {sample['shown']}"
    figures = geometry_figures(states, note)
    apart = {name: f"{name}\nmeans {state.gap.distance_of_means:.3f} apart" for name, state in states.items()}
    pictures = {"pca": plot_embedding_pca({apart[name]: pair for name, pair in clouds.items()}, config.points)}
    if place is not None:
        placed = {name: place(*pair) for name, pair in tqdm(clouds.items(), desc="UMAP", unit="state")}
        pictures["umap"] = plot_clouds(placed, ["UMAP 1", "UMAP 2"], share_axes=False)
    for figure in pictures.values():
        footnote(figure, origin(f"{note}, at most {config.points:,} of each drawn", uses_pairs=False))
    figures |= pictures
    for name, figure in figures.items():
        save_plot(figure, output_dir, name)
    table = geometry_table(states)
    write_whole(output_dir / "table.md", f"{table.markdown()}\n\n{note}\n")
    print(f"{table.text()}\n\n{note}\nFigures (PNG, SVG) and geometry.json: {output_dir}")
    return results


def sample_store(store: EmbeddingStore, config: DictConfig) -> tuple[Embeddings, dict]:
    """Seeded rows of the split, and facts about them. They are pairs where `text_split` is null.

    Raises:
        ValueError: a split without images or texts, or captions without images where `text_split` is null.
    """
    paired, text_split = config.text_split is None, config.text_split or config.split
    images, texts = store.images(config.split), store.texts(text_split, torch.float16)
    chosen = _drawn(len(images), config.max_images, config.seed, 7)
    rows, image_row = torch.arange(len(texts)), None
    if paired:
        place = torch.full((len(images),), -1).index_copy(0, chosen, torch.arange(len(chosen)))
        image_row = place[torch.from_numpy(store.pairs(config.split))]  # -1: not drawn
        rows = (image_row >= 0).nonzero()[:, 0]
    total = {"images": len(images), "texts": len(texts)}
    rows = rows[_drawn(len(rows), config.max_texts, config.seed, 8)]
    image_row = None if image_row is None else image_row[rows]
    embeddings = Embeddings(images[chosen], texts[rows].float(), image_row, config.seed)
    counts = {"images": len(chosen), "texts": len(rows)}
    shown = " and ".join(f"{counts[kind]:,} of {total[kind]:,} {kind}" for kind in counts)
    split = config.split if paired else f"{config.split} and {text_split}"
    return embeddings, {
        "split": split, "uses_pairs": paired, "drawn": counts, "of": total, "seed": config.seed, "shown": shown
    }  # fmt: skip


def geometry_table(states: Mapping[str, Geometry]) -> Table:
    """One row per state, with the metrics that fit a line."""
    columns = [Column("state"), Column("distance of means", 3), Column("separable %"), Column("centred %")]
    columns += [Column("dimensions, images"), Column("dimensions, texts")]
    paired = all(state.paired for state in states.values())
    if paired:
        columns += [Column("gap length"), Column("cosine of pairs", 3), Column("noise sd", 4), Column("CKA", 3)]
    rows = []
    for name, state in states.items():
        row = {
            "state": name,
            "distance of means": state.gap.distance_of_means,
            "separable %": 100 * state.separability.as_they_are,
            "centred %": 100 * state.separability.centred,
            "dimensions, images": state.spread["images"].participation_ratio,
            "dimensions, texts": state.spread["texts"].participation_ratio,
        }
        if paired and state.paired and state.cosines.paired:
            length = state.paired.gap.length
            row |= {
                "gap length": f"{length.mean:.3f} ± {length.sd:.3f}",
                "cosine of pairs": state.cosines.paired.mean,
                "noise sd": state.paired.residuals.sd_rms,
                "CKA": state.paired.cka.linear,
            }
        rows.append(row)
    return Table(rows, columns)


def _alignments(config: DictConfig, store: EmbeddingStore) -> dict[str, Alignment]:
    """{name: chain}, on the CPU, where the rows are."""
    if len(config.alignments) >= len(LOOKS):
        raise ValueError(
            f"alignments={list(config.alignments)} are {len(config.alignments)}: figures can tell at most "
            f"{len(LOOKS) - 1} apart, beside the raw rows"
        )
    chains: dict[str, Alignment] = {}
    for alignment in config.alignments:
        name = Path(alignment).name
        if name in chains or name == RAW:
            raise ValueError(f"alignments={list(config.alignments)} has two named {name!r}, or one named {RAW!r}")
        chains[name] = load_alignment(alignment, config, store)
    return chains


def _drawn(rows: int, most: int | None, *seed: int) -> Tensor:
    return torch.arange(rows) if most is None else drawn_rows(rows, most, *seed)


def _umap(seed: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A function that embeds two clouds (N, D), (M, D) in one plane: (N, 2), (M, 2)."""
    try:
        from umap import UMAP  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f'umap=true needs the package umap-learn ({error}): run pip install -e ".[umap]", or leave umap=false'
        ) from error

    def place(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.cat([first, second])
        reducer = UMAP(n_neighbors=min(15, len(rows) - 1), metric="cosine", random_state=seed, n_jobs=1)
        placed = torch.from_numpy(reducer.fit_transform(rows.numpy()))
        return placed[: len(first)], placed[len(first) :]

    return place
