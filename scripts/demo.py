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
from embedding_space.store import EmbeddingStore
from evaluation.facts import run_facts
from evaluation.files import read_predictions
from evaluation.plots import Example, plot_cosine_against_timestep, plot_embedding_pca, save_figure_grid
from evaluation.report import write_report
from evaluation.retrieval import paired_cosine
from evaluation.table import Table
from image_captioning.captioner import Captioner
from image_captioning.generation import Decoding
from scripts.compare_methods import results_table
from scripts.method_runs import MethodRuns, find_methods
from scripts.prepare_data import prepare
from training.cli import command
from training.config import compose_config, override

TIMESTEPS = (50, 100, 200, 300, 400, 500, 600, 700, 800, 900)


def run_demo(config: DictConfig) -> dict:
    """Run as `configs/demo.yaml` says; returns what `results.json` holds. Finished stages are re-used."""
    overrides = [override("output_dir", f"{config.runs_dir}/prepare_data/demo"), *config.prepare]
    preparing = compose_config("prepare_data", *overrides)
    method_runs = _method_runs(config, Path(preparing.dataset.root), preparing.encoder.name)
    method_runs.check(config.seeds)
    started, facts = time.perf_counter(), run_facts()
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, output_dir / "config.yaml", resolve=True)
    store = prepare(preparing)
    runs = list(method_runs.run(config.seeds))
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
    examples = _examples(config, store, method_runs)
    save_figure_grid(output_dir / "grid.png", examples[:6])
    _write_report(config, store, results, table, examples, _plots(config, store, method_runs))
    print(f"Report: {output_dir / 'report.html'}   figures: {output_dir / 'results.json'}")
    return results


def _method_runs(config: DictConfig, root: Path, encoder: str) -> MethodRuns:
    return MethodRuns(
        name="demo",
        runs_dir=config.runs_dir,
        store=root / encoder,
        methods=find_methods(config.methods, config.oracles),
        decodings={config.decoding.strategy: Decoding(**config.decoding)},
        split=config.split,
        metrics=config.metrics,
        cache_dir=f"{root}/.cache",
        ddpm=config.ddpm,
        captioner=config.captioner,
        ending="{split}",
    )


def _examples(config: DictConfig, store: EmbeddingStore, method_runs: MethodRuns) -> list[Example]:
    """Evenly spaced pictures with every method's caption, of the first seed."""
    first = (config.seeds[0], config.decoding.strategy)
    captions = {
        method.name: read_predictions(Path(method_runs.evaluation_dir(method, *first)) / "predictions.json")
        for method in method_runs.methods
        if method.caption_from == "images"
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
    config: DictConfig, store: EmbeddingStore, results: dict, table: Table, examples: list[Example], plots: list[tuple]
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
        plots,
        examples,
        notes,
    )


def _plots(config: DictConfig, store: EmbeddingStore, method_runs: MethodRuns) -> list[tuple]:
    """PCA of what each decoder reads, and the cosine to the texts against the injection step; first seed."""
    seed = config.seeds[0]
    images, texts = store.images(config.split), store.texts(config.split)
    image_row = torch.from_numpy(store.pairs(config.split))
    aligned = {}
    shown = [method for method in method_runs.methods if method.name in ("c1", "c2_collapse", "diffusion_bridge")]
    for method in sorted(shown, key=lambda method: method.name):
        captioner = Captioner.load(method_runs.captioner_dir(method, seed)).cpu()
        aligned[method.name] = (captioner.clean_texts(texts), captioner.align_images(images))
    if not aligned:
        return []
    titles = {"c1": "raw (c1)", "c2_collapse": "centred (c2_collapse)", "diffusion_bridge": "bridged"}
    panels = {titles[method]: pair for method, pair in aligned.items()}
    plots = [("Texts and images as the decoders read them, on shared axes.", plot_embedding_pca(panels))]
    if {"c2_collapse", "diffusion_bridge"} <= set(aligned):
        bridge = next(method for method in shown if method.name == "diffusion_bridge")
        diffusion = load_text_diffusion(method_runs.diffusion_dir(bridge, seed))
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
