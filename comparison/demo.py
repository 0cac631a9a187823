"""The demo: prepare a world of pictures, sounds or videos, train every method, evaluate, and write a report.

The work behind `scripts/demo.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from common.config import compose_config, override
from common.files import write_whole
from common.plain import plain
from common.provenance import run_facts
from common.registry import look_up
from comparison.methods import STAGES, find_methods
from comparison.prepare_data import prepare
from comparison.runs import MethodRuns, shared_trainings
from comparison.stages import Stage, StageClock
from ddpm.bridge import load_text_diffusion, reverse_diffusion
from ddpm.diffusion import TextDiffusion
from embedding_space.media import NAMES
from embedding_space.store import EmbeddingStore
from evaluation.captions.scoring_options import Scoring
from evaluation.embeddings.retrieval import centroid_distance, paired_cosine
from evaluation.reports.comparison_report import write_comparison
from evaluation.reports.comparison_result import ComparisonResult, Plot
from evaluation.reports.comparison_tables import cider_intervals
from evaluation.reports.figure_grid import save_figure_grid
from evaluation.reports.gallery import gallery_examples
from evaluation.reports.plots import plot_cosine_against_timestep, plot_embedding_pca, save_plot
from image_captioning.captioner import Captioner
from image_captioning.generation import Decoding

REPORT = Stage("writing the report", "report", 20)
SUMMARY = (
    "Ways across the gap between {medium}s and texts, on the demo world: a decoder is trained on {train:,} captions "
    "without a {single}, then writes captions for {test:,} {files} that are new to it.\n\n{license}"
)
TIMESTEPS = (50, 100, 200, 300, 400, 500, 600, 700, 800, 900)


def run_demo(config: DictConfig) -> ComparisonResult:
    """Run as `configs/demo.yaml` says; returns what `results.json` holds. Finished stages are re-used."""
    data = look_up(config.modality, config.worlds, "modality", "modality")
    chosen = [f"dataset={data.dataset}", f"encoder={data.encoder}"]
    prepare_dir = override("output_dir", f"{config.runs_dir}/prepare_data/{data.dataset}")
    preparing = compose_config("prepare_data", *chosen, prepare_dir, *config.prepare)
    method_runs = _method_runs(config, preparing)
    method_runs.check(config.seeds)
    if preparing.text_splits is None:
        preparing.text_splits = method_runs.text_splits(preparing.dataset.text_split, config.seeds[0])
    started, facts = time.perf_counter(), run_facts()
    output_dir = Path(config.output_dir)
    prepared = (method_runs.store / "manifest.json").exists()
    clock = StageClock(
        [Stage("preparing the data", "preparing", 0 if prepared else 90), *method_runs.plan(config.seeds), REPORT]
    )
    with clock.stage("preparing the data"):
        prepare(preparing)
    store = EmbeddingStore(method_runs.store)
    runs = list(method_runs.run(config.seeds, clock))
    world = json.loads((store.path.parent / "world.json").read_text())
    train, test = len(store.captions(store.text_split)), len(store.image_ids(config.split))
    with clock.stage(REPORT.label):
        result = ComparisonResult(
            facts={**facts, "world": world["world_hash"]},
            title=f"Captioning {config.modality}s after training on text alone",
            summary=SUMMARY.format(
                train=train,
                test=test,
                medium=config.modality,
                single=NAMES[config.modality].removesuffix("s"),
                files=NAMES[config.modality],
                license=world["licence"],
            ),
            config=plain(config),
            store=store.hash,
            store_path=str(store.path),
            split=config.split,
            images=test,
            medium=config.modality,
            seeds=list(config.seeds),
            minutes=round((time.perf_counter() - started) / 60, 1),
            intervals=cider_intervals(runs, None),
            runs=runs,
            notes=[*_notes(config, world), *shared_trainings(runs)],
            plots=_plots(config, store, method_runs, output_dir),
        )
        write_whole(output_dir / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
        text = write_comparison(output_dir, result, config.examples, config.picture_side)
        save_figure_grid(output_dir / "grid.png", gallery_examples(runs, store, config.split, 6))
    print(f"\n{text}\n")
    print(f"Report: {output_dir / 'report.html'}   results: {output_dir / 'results.json'}")
    return result


def _method_runs(config: DictConfig, preparing: DictConfig) -> MethodRuns:
    root = Path(preparing.dataset.root)
    return MethodRuns(
        name=preparing.dataset.name,
        runs_dir=config.runs_dir,
        store=root / preparing.encoder.name,
        methods=find_methods(config.methods, config.oracles),
        decodings={config.decoding.strategy: Decoding(**config.decoding)},
        split=config.split,
        scoring=Scoring(tuple(config.metrics), f"{root}/.cache"),
        overrides={stage: config[option] for stage, option in STAGES.items()},
        groups={} if config.modality == "image" else {"dataset": preparing.dataset, "encoder": preparing.encoder},
        ending="{split}",
    )


def _notes(config: DictConfig, world: dict) -> list[str]:
    inputs = f"{config.modality}s"
    notes = [
        "CIDEr is pycocoevalcap's CIDEr-D; BLEU, METEOR and CIDEr are times 100.",
        f"Intervals: bootstrap draws of the {inputs}, each one's CIDEr averaged over seeds.",
        f"cosine to texts and R@1: aligned {inputs} against their own captions in the space that the decoder reads.",
        f"seconds: training of the decoder (and of the diffusion model, for the bridge) and captioning the {inputs}.",
    ]
    if config.oracles:
        notes.append(
            f"Oracles are no methods: oracle_pairs was trained on {config.modality}-text pairs; oracle_text is the "
            f"collapse decoder fed each {config.modality}'s first caption, scored against the other four."
        )
    notes.append(
        f"{world['heldout_overlap_before']:.1%} of the held-out captions stood word for word in the text corpus; the "
        f"{world['corpus_captions_dropped']:,} captions of the corpus that equal one of them were dropped."
    )
    return notes


def _plots(config: DictConfig, store: EmbeddingStore, method_runs: MethodRuns, output_dir: Path) -> list[Plot]:
    """PCA of what each decoder reads, and the cosine to the texts against the injection step; first seed. Saved in
    `output_dir`."""
    seed = config.seeds[0]
    images, texts = store.images(config.split), store.texts(config.split)
    image_row = torch.from_numpy(store.pairs(config.split))
    aligned = {}
    shown = [method for method in method_runs.methods if method.name in ("c1", "c2_collapse", "diffusion_bridge")]
    for method in sorted(shown, key=lambda method: method.name):
        captioner = Captioner.load(method_runs.captioner_dir(method, seed)).cpu()
        aligned[method.name] = (captioner.align_texts(texts), captioner.align_images(images))
    if not aligned:
        return []
    titles = {"c1": "raw (c1)", "c2_collapse": "centred (c2_collapse)", "diffusion_bridge": "bridged"}
    panels = {f"{titles[method]}\nmeans {centroid_distance(*pair):.2f} apart": pair for method, pair in aligned.items()}
    plots = [Plot("pca.svg", f"Texts and {config.modality}s as the decoders read them, on shared axes.")]
    save_plot(plot_embedding_pca(panels, medium=config.modality), output_dir, "pca")
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
        save_plot(plot_cosine_against_timestep(TIMESTEPS, lines, level, config.modality), output_dir, "injection")
        caption = (
            f"How near {config.modality}s come to their texts, by the step at which they enter the reverse diffusion."
        )
        plots.append(Plot("injection.svg", caption))
    return plots


def bridged_cosines(
    diffusion: TextDiffusion, images: Tensor, texts: Tensor, image_row: Tensor, timesteps: Iterable[int], steps: int
) -> list[float]:
    """Mean cosine of bridged images to their texts, for each injection timestep.

    images (N, D), texts (M, D): rows after the diffusion model's prefix; image_row (M,): each text's image. An
    injection below `steps` is bridged in as many steps as it has.
    """
    return [
        paired_cosine(reverse_diffusion(diffusion, images, timestep, min(steps, timestep)), texts, image_row)
        for timestep in timesteps
    ]
