"""Translation: samples per second and quality for each number of DDIM steps."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from common.config import compose_config, plain
from common.device import best_device
from evaluation.embeddings.retrieval import paired_cosine
from modality_translation.pairs import PairedRows, PairedStores
from modality_translation.task import TranslationTask
from modality_translation.translation import Translation, load_translation
from scripts.benchmarks.timing import median_seconds, parameters, with_ratios
from training.loop import Loop, LoopConfig


def made_up_pairs(rows: int, image_dim: int, text_dim: int, seed: int, device: torch.device) -> PairedRows:
    """Pairs of made-up spaces: a text is its image's row through a fixed linear map, and something not linear."""

    def normal(*shape: int, seed: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))

    images = F.normalize(normal(rows, image_dim, seed=seed), dim=-1)
    linear, bent = (normal(image_dim, text_dim, seed=map_seed) for map_seed in (1, 2))
    texts = F.normalize(images @ linear, dim=-1) + F.normalize(torch.sin(3 * images @ bent), dim=-1)
    return PairedRows(images.to(device), F.normalize(texts, dim=-1).to(device), torch.arange(rows, device=device))


def benchmark_translation(config: DictConfig, repeats: int) -> list[dict]:
    """Images translated per second, batched, by each number of steps, and their cosine to their texts; one at a time.

    The last row is the paper's way in the number of steps that is the default, without batching.
    """
    device = best_device()
    if config.checkpoint is None:
        translation, pairs = trained_on_made_up(config, device)
    else:
        translation = load_translation(config.checkpoint)
        run = OmegaConf.load(Path(config.checkpoint) / "config.yaml")
        pairs = PairedStores(run.image_store, run.text_store).pairs(run.validation_split, device)
    images = pairs.images.repeat(-(-config.rows // len(pairs.images)), 1)[: config.rows]

    def translate(rows: Tensor, steps: int) -> Tensor:
        return translation.translate(rows, "image_to_text", steps=steps, guidance_scale=config.guidance_scale)

    def one_at_a_time(rows: Tensor, steps: int) -> Tensor:
        return torch.cat([translate(row[None], steps) for row in rows])

    default = translation.sampling.steps
    ways = {f"{steps} steps, batched": (translate, images, steps) for steps in config.steps}
    ways[f"{default} steps, one at a time (reference)"] = (one_at_a_time, images[: config.rows_single], default)
    seconds = median_seconds(
        {name: lambda way=way, rows=rows, steps=steps: way(rows, steps) for name, (way, rows, steps) in ways.items()},
        repeats,
    )
    table = [
        {
            "translation": name,
            "million parameters": parameters(translation.directions["image_to_text"]),
            "samples per second": len(rows) / seconds[name],
            "cosine": paired_cosine(translate(pairs.images, steps), pairs.texts, pairs.image_row),
        }
        for name, (_, rows, steps) in ways.items()
    ]
    return with_ratios(table, "samples per second")


def trained_on_made_up(config: DictConfig, device: torch.device) -> tuple[Translation, PairedRows]:
    """A translation of configs/modality_translation.yaml's model, trained for `train_steps`, and unseen pairs."""
    whole = plain(compose_config("modality_translation", *config.overrides))
    torch.manual_seed(0)
    translation = Translation(
        config.image_dim, config.text_dim, whole["model"], whole["sampling"], directions=["image_to_text"]
    )
    options = {**whole["loop"], "steps": config.train_steps, "evaluate_every": None, "checkpoint_every": None}
    options["warmup_steps"] = min(options["warmup_steps"], config.train_steps // 2)
    training, unseen = (
        made_up_pairs(rows, config.image_dim, config.text_dim, seed, device)
        for rows, seed in ((config.train_rows, 3), (1000, 4))
    )
    translation.fit(training)
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        loop = Loop(LoopConfig(**options), folder)
        loop.fit(translation, TranslationTask(training, unseen, options["batch_size"], 0, translation.directions))
        return load_translation(folder), unseen
