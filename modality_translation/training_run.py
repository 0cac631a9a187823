"""Learn to translate between two embedding spaces from image-text pairs.

The work behind `python -m modality_translation.train`.
"""

from __future__ import annotations

import json

import torch
from omegaconf import DictConfig

from common.plain import plain
from common.randomness import mixed_seed
from embedding_space.splits import refuse_held_out
from modality_translation.pairs import PairedStores
from modality_translation.task import TranslationTask
from modality_translation.translation import Translation
from training.loop import Loop, LoopConfig
from training.run_folder import open_run, reuse_run
from training.tracking import Tracker


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/modality_translation.yaml` says; returns the validation metrics of the last evaluation."""
    options = plain(config)
    refuse_held_out("dataset.pairs_split", config.dataset.pairs_split)
    stores = PairedStores(config.image_store, config.text_store)
    torch.manual_seed(mixed_seed(config.seed, 8))  # initial weights
    translation = Translation(
        stores.dims["images"],
        stores.dims["texts"],
        options["model"],
        options["sampling"],
        options["directions"],
        json.loads(json.dumps(stores.encoders)),
        {
            "dataset": config.dataset.name,
            "pairs_split": config.dataset.pairs_split,
            **stores.hashes,
            "seed": config.seed,
            "uses_pairs": True,
        },
    )
    if not any(weight.requires_grad for weight in translation.parameters()):
        raise ValueError(
            "sampling.terms=projection with model.projection=closed_form leaves nothing to train: "
            "set model.projection=joint and model.ridge=0, or compare with the row `linear`"
        )
    state = open_run(config.output_dir, config, config.overwrite, stores.hashes)
    if state == "finished":
        return reuse_run(config.output_dir)
    loop_config = LoopConfig(**options["loop"], seed=config.seed)
    loop = Loop(loop_config, config.output_dir, Tracker(**options["tracker"]))
    training = stores.pairs(config.dataset.pairs_split, loop.device)
    validation = stores.pairs(config.validation_split, loop.device)
    translation.fit(training)  # a resumed run loads the same again
    task = TranslationTask(training, validation, loop_config.batch_size, config.seed, translation.directions)
    return loop.fit(translation, task, resume=state == "unfinished")
