"""The demo: prepare the world, train every method, evaluate, and write a report. See configs/demo.yaml.

python scripts/demo.py
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from ddpm.analysis import bridged_cosines
from ddpm.bridge import load_text_diffusion
from ddpm.train import train as train_ddpm
from embedding_space.store import EmbeddingStore
from evaluation.facts import run_facts
from evaluation.files import read_predictions
from evaluation.metrics import METRICS
from evaluation.plots import Example, plot_cosine_against_timestep, plot_embedding_pca, save_figure_grid
from evaluation.report import write_report
from evaluation.retrieval import paired_cosine
from evaluation.table import Column, Table
from image_captioning.captioner import Captioner
from image_captioning.evaluate import evaluate_run
from image_captioning.generation import Decoding
from image_captioning.train import train as train_captioner
from scripts.prepare_data import prepare
from training.cli import command
from training.config import compose_config, override

ORACLES = ("oracle_pairs", "oracle_text")
TIMESTEPS = (50, 100, 200, 300, 400, 500, 600, 700, 800, 900)
COLUMNS = [
    Column("method"),
    Column("CIDEr", 1, "higher"),
    Column("BLEU-4", 1, "higher"),
    Column("METEOR", 1, "higher"),
    Column("cosine to texts", 3, "higher"),
    Column("R@1 %", 1, "higher"),
    Column("seconds", 0),
]


def run_demo(config: DictConfig) -> dict:
    """Run as `configs/demo.yaml` says; returns what `results.json` holds. Finished stages are re-used."""
    _check(config)
    started, facts = time.perf_counter(), run_facts()
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, output_dir / "config.yaml", resolve=True)
    store = prepare(
        compose_config("prepare_data", override("output_dir", f"{config.runs_dir}/prepare_data/demo"), *config.prepare)
    )
    runs = [run for seed in config.seeds for run in _run_seed(config, store, seed)]
    results = {
        **facts,
        "config": OmegaConf.to_container(config, resolve=True),
        "world": json.loads((store.path.parent / "world.json").read_text())["world_hash"],
        "store": store.hash,
        "seeds": list(config.seeds),
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "runs": runs,
    }
    table = results_table(runs)
    (output_dir / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    (output_dir / "table.md").write_text(table.markdown() + "\n")
    print(f"\n{table.text()}\n")
    examples = _examples(config, store)
    save_figure_grid(output_dir / "grid.png", examples[:6])
    _write_report(config, store, results, table, examples)
    print(f"Report: {output_dir / 'report.html'}   figures: {output_dir / 'results.json'}")
    return results


def _check(config: DictConfig) -> None:
    """Refuse what would fail only after hours: unknown methods, oracles, decodings and metrics, no seeds."""
    if not config.seeds or not config.methods:
        raise ValueError(f"seeds={list(config.seeds)} and methods={list(config.methods)} must not be empty")
    unknown = set(config.oracles) - set(ORACLES)
    if unknown:
        raise ValueError(f"oracles={sorted(unknown)} are unknown; known: {', '.join(ORACLES)}")
    if "oracle_text" in config.oracles and "c2_collapse" not in config.methods:
        raise ValueError("oracle_text reads with the collapse decoder: add c2_collapse to methods")
    for method in config.methods:
        compose_config("image_captioning", f"alignment={method}", *config.captioner)
    compose_config("ddpm", *config.ddpm)
    Decoding(**config.decoding)
    if set(config.metrics) - set(METRICS):
        raise ValueError(f"metrics={list(config.metrics)} must be among {', '.join(METRICS)}")


def _run_seed(config: DictConfig, store: EmbeddingStore, seed: int) -> list[dict]:
    """Train and evaluate all methods and oracles of one seed."""
    diffusion_dir = f"{config.runs_dir}/ddpm/demo_seed{seed}"
    ddpm_seconds = 0.0
    if "diffusion_bridge" in config.methods:
        options = [f"seed={seed}", override("store", store.path), override("output_dir", diffusion_dir)]
        train_ddpm(compose_config("ddpm", *options, *config.ddpm))
        ddpm_seconds = _seconds(diffusion_dir)
    runs = []
    for method in [*config.methods, *config.oracles]:
        on_pairs, on_text = method == "oracle_pairs", method == "oracle_text"
        trained = "c2_collapse" if on_text else method
        checkpoint = f"{config.runs_dir}/image_captioning/demo_{trained}_seed{seed}"
        alignment = "c2_collapse" if on_pairs else trained
        overrides = [f"alignment={alignment}", f"seed={seed}"]
        overrides += [override("store", store.path), override("output_dir", checkpoint)]
        if alignment == "diffusion_bridge":
            overrides.append(override("alignment.diffusion", diffusion_dir))
        if on_pairs:
            overrides.append("train_on=pairs")
        train_captioner(compose_config("image_captioning", *overrides, *config.captioner))
        figures = evaluate_run(
            checkpoint,
            store,
            f"{config.runs_dir}/evaluation/demo_{method}_seed{seed}_{config.split}",
            split=config.split,
            decoding=Decoding(**config.decoding),
            metrics=tuple(config.metrics),
            caption_from="texts" if on_text else "images",
            cache_dir=f"{store.path.parent}/.cache",
        )
        seconds = _seconds(checkpoint) + figures["seconds"]["captioning"]
        bridge_seconds = ddpm_seconds if alignment == "diffusion_bridge" else 0.0
        runs.append({"method": method, "seed": seed, "total_seconds": seconds + bridge_seconds, **figures})
    return runs


def _seconds(run_folder: str) -> float:
    return json.loads((Path(run_folder) / "finished.json").read_text())["seconds"]


def results_table(runs: list[dict]) -> Table:
    """One row a method, the seeds' values side by side; oracles compete for no best mark."""
    rows = []
    for method in dict.fromkeys(run["method"] for run in runs):
        own = [run for run in runs if run["method"] == method]
        # An oracle fed text has no images to bring near their texts.
        gaps = [None if method == "oracle_text" else run["gap"] for run in own]
        rows.append(
            {
                "method": method,
                **{name: [run["metrics"].get(name) for run in own] for name in ("CIDEr", "BLEU-4", "METEOR")},
                "cosine to texts": [gap and gap["paired_cosine"] for gap in gaps],
                "R@1 %": [gap and 100 * gap["image_to_text_recall_at_1"] for gap in gaps],
                "seconds": [run["total_seconds"] for run in own],
            }
        )
    return Table(rows, COLUMNS, unranked=ORACLES)


def _examples(config: DictConfig, store: EmbeddingStore) -> list[Example]:
    """Evenly spaced pictures with every method's caption, of the first seed."""
    seed = config.seeds[0]
    folder = Path(config.runs_dir) / "evaluation"
    captions = {
        method: read_predictions(folder / f"demo_{method}_seed{seed}_{config.split}" / "predictions.json")
        for method in [*config.methods, *(name for name in config.oracles if name != "oracle_text")]
    }
    image_ids = store.image_ids(config.split)
    references = store.tables.references(config.split)
    paths = store.tables.image_paths(store.tables.image_rows(config.split))
    chosen = torch.linspace(0, len(image_ids) - 1, min(config.examples, len(image_ids))).long().tolist()
    return [
        Example(
            paths[row],
            image_ids[row],
            references[image_ids[row]],
            {method: by_id[image_ids[row]] for method, by_id in captions.items()},
        )
        for row in chosen
    ]


def _write_report(
    config: DictConfig, store: EmbeddingStore, results: dict, table: Table, examples: list[Example]
) -> None:
    facts = {name: results[name] for name in ("command", "commit", "date", "machine", "versions")}
    facts |= {"seeds": ", ".join(map(str, results["seeds"])), "minutes": str(results["minutes"])}
    train, test = len(store.captions(store.text_split)), len(store.image_ids(config.split))
    notes = [
        "CIDEr is pycocoevalcap's CIDEr-D; BLEU, METEOR and CIDEr are times 100.",
        "cosine to texts and R@1: aligned images against their own captions in the space that the decoder reads.",
        "seconds: training of the decoder (and of the diffusion model, for the bridge) and captioning the images.",
    ]
    if config.oracles:
        notes.append(
            "Oracles are no methods: oracle_pairs was trained on image-text pairs; oracle_text is the collapse decoder "
            "fed each image's first caption, scored against the other four."
        )
    world = json.loads((store.path.parent / "world.json").read_text())
    notes.append(
        f"{world['heldout_overlap_before']:.1%} of the held-out captions stood word for word in the text corpus; the "
        f"{world['corpus_captions_dropped']:,} captions of the corpus that equal one of them were dropped."
    )
    write_report(
        Path(config.output_dir) / "report.html",
        "Captioning images after training on text alone",
        "Ways across the gap between images and texts, on the demo world: a decoder is trained on "
        f"{train:,} captions without a picture, then writes captions for {test:,} pictures that it has never seen.\n\n"
        "The pictures are composed of OpenMoji graphics (openmoji.org, CC BY-SA 4.0).",
        facts,
        [(f"Results on {test:,} {config.split} images", table)],
        _plots(config, store),
        examples,
        notes,
    )


def _plots(config: DictConfig, store: EmbeddingStore) -> list[tuple]:
    """PCA of what each decoder reads, and the cosine to the texts against the injection step; first seed."""
    seed = config.seeds[0]
    images, texts = store.images(config.split), store.texts(config.split)
    image_row = torch.from_numpy(store.pairs(config.split))
    aligned = {}
    for method in [name for name in ("c1", "c2_collapse", "diffusion_bridge") if name in config.methods]:
        captioner = Captioner.load(f"{config.runs_dir}/image_captioning/demo_{method}_seed{seed}").cpu()
        aligned[method] = (captioner.clean_texts(texts), captioner.align_images(images))
    if not aligned:
        return []
    titles = {"c1": "raw (c1)", "c2_collapse": "centred (c2_collapse)", "diffusion_bridge": "bridged"}
    panels = {titles[method]: pair for method, pair in aligned.items()}
    plots = [("Texts and images as the decoders read them, on shared axes.", plot_embedding_pca(panels))]
    if {"c2_collapse", "diffusion_bridge"} <= set(aligned):
        diffusion = load_text_diffusion(f"{config.runs_dir}/ddpm/demo_seed{seed}")
        centred_texts, centred = aligned["c2_collapse"]
        lines = {
            f"bridged in {steps} step{'s' * (steps > 1)}": bridged_cosines(
                diffusion, centred, centred_texts, image_row, TIMESTEPS, steps
            )
            for steps in (5, 1)
        }
        level = {"centred, no bridge": paired_cosine(centred, centred_texts, image_row)}
        plots.append(
            (
                "How near images come to their texts, by the step at which they enter the reverse diffusion.",
                plot_cosine_against_timestep(TIMESTEPS, lines, level),
            )
        )
    return plots


main = command("demo", run_demo)

if __name__ == "__main__":
    main()
