"""Train an image generator on a data set's pictures and their own embeddings.

The work behind `python -m image_generation.train`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from alignment.chain import Alignment
from alignment.options import expand_steps
from common.checkpoint import weights_hash
from common.plain import plain
from common.randomness import evenly_spaced, mixed_seed, without
from embedding_space.store import EmbeddingStore
from image_captioning.alignments import STEPS
from image_captioning.provenance import print_estimates
from image_generation.autoencoder import Autoencoder
from image_generation.flow import LogitNormal, Sampling
from image_generation.generator import ImageGenerator
from image_generation.pixels import array_path, load_pixels
from image_generation.starting_weights import copy_weights, starting_generator
from image_generation.task import GenerationTask, Pictures
from training.batches import EpochOrder
from training.loop import Loop
from training.loop_config import loop_config_of
from training.run_folder import open_run, reuse_run
from training.tracking import Tracker


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/image_generation.yaml` says, or resume, or reuse a finished run.

    Returns:
        The metrics of the last evaluation.

    Raises:
        ValueError: bad options, unreadable pictures, or a data set without training images.
        FileNotFoundError: missing inputs.
    """
    store = EmbeddingStore(config.store, training_modality="images")
    options = plain(config)
    alignment = Alignment.from_store(expand_steps(config.alignment, STEPS), STEPS, store)
    split = store.training_split
    training, validation = _parts(store, split, config.validation_split, config.validation_images)
    loop_config = loop_config_of(options["loop"], config.seed, config.epochs, len(training))
    sampling, times = Sampling(**options["sampling"]), LogitNormal(config.time_mean, config.time_std)
    start = None if config.init_from is None else starting_generator(config.init_from, store)
    inputs = {"store": store.hash, "alignment": alignment.hash}
    if start:
        inputs["init_from"] = weights_hash(start.network)
    state = open_run(config.output_dir, config, config.overwrite, inputs)
    if state == "finished":
        return reuse_run(config.output_dir)
    loop = Loop(loop_config, config.output_dir, Tracker(**options["tracker"]))
    autoencoder = None if config.autoencoder is None else Autoencoder(config.autoencoder, loop.device)
    torch.manual_seed(mixed_seed(config.seed, 4))  # initial weights
    model = ImageGenerator(
        dim=store.dim,
        size=config.size,
        network=options["network"],
        alignment=alignment.options(),
        encoder=dict(store.manifest.encoder),
        **({} if autoencoder is None else {"planes": autoencoder.planes, "factor": autoencoder.factor}),
        autoencoder=config.autoencoder,
        predicts=config.predicts,
        provenance=_provenance(config, store, alignment, len(training), start),
    )
    if start:
        copy_weights(start, model)
    with loop.accelerator.main_process_first():  # it makes the arrays, the others read them
        array = _array(store, split, config.size, autoencoder)
        other = (
            array
            if config.validation_split is None
            else _array(store, config.validation_split, config.size, autoencoder)
        )
    model.alignment = alignment
    model.to(loop.device)
    if loop.accelerator.is_main_process:
        print_estimates(alignment)
    pictures = _pictures(store, split, array, training, loop.device, config.mirror)
    held_out = _pictures(store, config.validation_split or split, other, validation, loop.device)
    samples = None
    if config.samples and loop.accelerator.is_main_process:
        sentences = store.texts(config.samples_split)
        samples = model.align(sentences[evenly_spaced(len(sentences), config.samples)])
    task = GenerationTask(
        pictures, held_out, alignment, EpochOrder(len(training), loop_config.batch_size, config.seed),
        config.drop_condition, times, samples, sampling, loop.output_dir / "samples.png",
    )  # fmt: skip
    return loop.fit(model, task, resume=state == "unfinished", pretrained=start is not None)


def _parts(
    store: EmbeddingStore, split: str, validation_split: str | None, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which images of `split` are trained on (N,), and at most `count` of the validation split, or held out of `split`.

    Raises:
        ValueError: no image is left to train on.
    """
    images = len(store.tables.image_rows(split))
    if validation_split is not None:
        return torch.arange(images), evenly_spaced(len(store.tables.image_rows(validation_split)), count)
    if count >= images:
        raise ValueError(f"validation_images={count} leaves none of the {images:,} images of {split!r} to train on")
    chosen = evenly_spaced(images, count)
    return without(images, chosen), chosen


def _array(store: EmbeddingStore, split: str, size: int, autoencoder: Autoencoder | None) -> np.ndarray:
    pixels = load_pixels(store, split, size)
    if autoencoder is None:
        return pixels
    return autoencoder.encode_all(pixels, array_path(store, split, f"{size}_{autoencoder.hash[:12]}"))


class _Chosen:
    """Some rows of an array, read where they are asked for."""

    def __init__(self, array: np.ndarray, rows: np.ndarray):
        self.array, self.rows = array, rows

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        return self.array[self.rows[numbers]]


def _pictures(
    store: EmbeddingStore, split: str, array: np.ndarray, rows: torch.Tensor, device: torch.device, mirror: bool = False
) -> Pictures:
    embeddings = store.images(split, torch.float16)[rows].to(device)
    return Pictures(_Chosen(array, rows.numpy()), embeddings, mirror)


def _provenance(
    config: DictConfig, store: EmbeddingStore, alignment: Alignment, images: int, start: ImageGenerator | None
) -> dict[str, Any]:
    """What the generator was trained on, and what the one that it starts from was, for results to repeat."""
    return {
        "dataset": config.dataset.name,
        "alignment": config.alignment.name,
        "store_hash": store.hash,
        "image_split": store.training_split,
        "text_split": store.text_split,
        "seed": config.seed,
        "images": images,
        "uses_pairs": alignment.uses_pairs or bool(start and start.provenance.get("uses_pairs", True)),
        **({"estimates": alignment.estimates} if alignment.estimates else {}),
        **({"init_from": start.provenance} if start else {}),
    }
