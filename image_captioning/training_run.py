"""Train a captioner, on text alone unless told otherwise.

The work behind `python -m image_captioning.train`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from tqdm import tqdm

from alignment.chain import Alignment, in_parts
from alignment.options import expand_steps
from common.hints import warn_of_text_split
from common.randomness import drawn_groups, drawn_rows, mixed_seed, seeded_normal, without
from embedding_space.splits import refuse_held_out
from embedding_space.store import EmbeddingStore
from image_captioning.alignments import STEPS
from image_captioning.build import build_captioner
from image_captioning.captioner import Captioner
from image_captioning.collapse import warn_of_collapse
from image_captioning.data import CaptionTokens
from image_captioning.inference_inputs import check_encoder
from image_captioning.task import CaptioningTask, Examples
from image_captioning.tokenizer import load_tokenizer, make_tokenizer
from training.loop import Loop, LoopConfig
from training.run_folder import open_run, reuse_run
from training.tracking import Tracker

INPUTS = ("text", "pairs")
TEXT_NOISE = ("fresh", "once")
SAMPLES = 16
ROWS_AT_ONCE = 4096


@dataclass
class Chosen:
    """What is trained on and validated on: a split each, and the rows of it."""

    split: str
    rows: Tensor  # (M,) int64, increasing, of the split's captions
    validation_split: str
    validation_rows: Tensor


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/image_captioning.yaml` says, or go on, or re-use a finished run; returns its closing figures.

    Raises ValueError or FileNotFoundError with one sentence for bad options and missing or damaged inputs.
    """
    for option, choices in (("train_on", INPUTS), ("validate_on", INPUTS), ("text_noise", TEXT_NOISE)):
        if config[option] not in choices:
            raise ValueError(f"{option}={config[option]!r} must be one of {', '.join(choices)}")
    output_dir = Path(config.output_dir)
    store = EmbeddingStore(config.store)
    warn_of_text_split(store.path, store.text_split, config.dataset.text_split)
    alignment = Alignment.from_store(expand_steps(config.alignment, STEPS), STEPS, store)
    chosen = choose(config, store)
    loop_config = _loop_config(config, len(chosen.rows))
    start = None if config.init_from is None else _start(config.init_from, store)
    inputs = {"store": store.hash, "alignment": alignment.hash}
    if start:
        inputs["init_from"] = start.weights_hash()
    state = open_run(output_dir, config, config.overwrite, inputs)
    if state == "finished":
        return reuse_run(output_dir)
    loop = Loop(loop_config, output_dir, Tracker(**_plain(config.tracker)))
    task = _task(config, store, alignment, loop, chosen, start, resume=state == "unfinished")
    for found in alignment.estimates if loop.accelerator.is_main_process else ():
        print("alignment.{option}=auto: {value:.4g}, from {data} data ({method})".format(**found))
    return loop.fit(task.captioner, task, resume=state == "unfinished")


def choose(config: DictConfig, store: EmbeddingStore) -> Chosen:
    """Training and validation captions; without a validation split, some of the training texts are held out, all
    captions of an image together, for they say nearly the same."""
    for option in ("train_captions", "validation_captions"):
        if config[option] is not None and config[option] < 1:
            raise ValueError(f"{option}={config[option]} must be null or at least 1")
    uses_pairs = "pairs" in (config.train_on, config.validate_on)
    if config.train_on == "pairs":
        refuse_held_out("dataset.pairs_split", config.dataset.pairs_split)
    split = config.dataset.pairs_split if config.train_on == "pairs" else store.text_split
    validation_split, count = config.validation_split, config.validation_captions
    rows = torch.arange(len(store.tables.caption_rows(split)))
    if validation_split is not None:
        try:
            total = len(store.tables.caption_rows(validation_split))
        except ValueError as error:
            raise ValueError(
                f"{error}. Name one of them with validation_split=..., or set validation_split=null, which holds some "
                "of the training texts out"
            ) from error
        validation_rows = drawn_rows(total, total if count is None else count, config.seed, 5)
    elif uses_pairs or count is None or count >= len(rows):
        raise ValueError(
            f"validation_split=null holds validation_captions={count} of the {len(rows)} training texts out: give a "
            "number below theirs, and name a split if train_on or validate_on is pairs"
        )
    else:
        groups = torch.from_numpy(store.tables.image_groups(split))
        validation_split, validation_rows = split, drawn_groups(groups, count, config.seed, 5)
        rows = without(len(rows), validation_rows)
        if not len(rows):
            raise ValueError(
                f"validation_captions={count} leave no image of split {split!r} to train on, for all captions of an "
                "image are held out together: give fewer"
            )
    if config.train_captions is not None:
        rows = rows[drawn_rows(len(rows), config.train_captions, config.seed, 5)]
    return Chosen(split, rows, validation_split, validation_rows)


def _loop_config(config: DictConfig, captions: int) -> LoopConfig:
    options, epochs = _plain(config.loop), config.epochs
    if epochs is None:
        return LoopConfig(seed=config.seed, **options)
    if options["steps"] is not None:
        raise ValueError(
            f"epochs={epochs} and loop.steps={options['steps']} both say how long to train: set one of them to null"
        )
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"epochs={epochs!r} must be null or a whole number, at least 1")
    loop_config = LoopConfig(seed=config.seed, **{**options, "steps": epochs})
    return replace(loop_config, steps=epochs * max(captions // loop_config.batch_size, 1))


def _start(checkpoint: str, store: EmbeddingStore) -> Captioner:
    try:
        start = Captioner.load(checkpoint)
        check_encoder(start, store)
    except (ValueError, FileNotFoundError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f"init_from={checkpoint}: {error}") from error
    return start.cpu()


def _task(
    config: DictConfig,
    store: EmbeddingStore,
    alignment: Alignment,
    loop: Loop,
    chosen: Chosen,
    start: Captioner | None,
    resume: bool,
) -> CaptioningTask:
    captions = _captions(store, chosen.split, chosen.rows)
    decoder = _plain(config.decoder)
    if resume:
        tokenizer = load_tokenizer(loop.output_dir)
    else:
        tokenizer = start.tokenizer if start else make_tokenizer(decoder["tokenizer"], captions)
    limits = (tokenizer, decoder["max_tokens"], decoder["truncate"])

    torch.manual_seed(mixed_seed(config.seed, 4))  # initial weights
    captioner = build_captioner(
        dim=store.dim if alignment.inference_dim is None else store.dim_of("texts"),
        alignment=alignment,
        tokenizer=tokenizer,
        mapper=decoder["mapper"],
        encoder=store.manifest.encoder,
        provenance={
            "dataset": config.dataset.name,
            "alignment": config.alignment.name,
            "store_hash": store.hash,
            "image_mean_split": store.manifest.image_mean_split,
            "seed": config.seed,
            "captions": len(captions),
            "train_split": chosen.split,
            "train_on": config.train_on,
            "validate_on": config.validate_on,
            "uses_pairs": _uses_pairs(config, start, alignment),
            **({"estimates": alignment.estimates} if alignment.estimates else {}),
            **({"init_from": start.provenance} if start else {}),
        },
        pretrained=decoder["pretrained"],
        config=decoder["config"],
    )
    if start:
        captioner.start_from(start)
    captioner.to(loop.device)
    _set_up_training(captioner, decoder)

    tokens = CaptionTokens.encode(captions, *limits)
    if loop.accelerator.is_main_process:
        own = _texts(store, chosen.split, chosen.rows) if config.train_on == "text" else None
        warn_of_collapse(captions, tokens, own)
    tokens = tokens.to(loop.device)
    references = _captions(store, chosen.validation_split, chosen.validation_rows)
    validation_tokens = CaptionTokens.encode(references, *limits).to(loop.device)
    captioner.check_room(max(int(tokens.lengths.max()), int(validation_tokens.lengths.max())))

    if config.train_on == "pairs":
        training = _paired(captioner, store, chosen.split, tokens, chosen.rows)
    else:
        training = Examples(_texts(store, chosen.split, chosen.rows).to(loop.device), tokens)
        if config.text_noise == "once":
            training = _aligned_once(captioner, training, config.seed, loop.accelerator.is_main_process)
    texts = _texts(store, chosen.validation_split, chosen.validation_rows).to(loop.device)
    validation = {"text_loss": Examples(texts, validation_tokens)}
    if config.validate_on == "pairs":
        paired = _paired(captioner, store, chosen.validation_split, validation_tokens, chosen.validation_rows)
        validation["paired_validation_loss"] = paired
    return CaptioningTask(
        captioner, training, validation, (texts[:SAMPLES], references[:SAMPLES]),
        config.loop.batch_size, config.seed, config.label_smoothing,
    )  # fmt: skip


def _uses_pairs(config: DictConfig, start: Captioner | None, alignment: Alignment) -> bool:
    before = start is not None and start.provenance.get("uses_pairs", True)
    estimated = any(found["uses_pairs"] for found in alignment.estimates)
    return before or estimated or alignment.uses_pairs or "pairs" in (config.train_on, config.validate_on)


def _set_up_training(captioner: Captioner, decoder: dict) -> None:
    if not decoder["train_decoder"]:
        if decoder["pretrained"] is None:
            raise ValueError("decoder.train_decoder=false needs a trained decoder: name one with decoder.pretrained")
        if decoder["gradient_checkpointing"]:
            raise ValueError(
                "decoder.gradient_checkpointing=true does nothing for a decoder that is not trained "
                "(decoder.train_decoder=false): set it to false"
            )
        captioner.freeze_decoder()
    if decoder["gradient_checkpointing"]:
        captioner.checkpoint_gradients()


def _captions(store: EmbeddingStore, split: str, rows: Tensor) -> list[str]:
    captions = store.captions(split)
    return captions if len(rows) == len(captions) else [captions[row] for row in rows.tolist()]


def _texts(store: EmbeddingStore, split: str, rows: Tensor) -> Tensor:
    """(M, D) raw rows in float16, as they are stored: on the device they take half the room."""
    texts = store.texts(split, torch.float16)
    return texts if len(rows) == len(texts) else texts[rows]


def _aligned_once(captioner: Captioner, training: Examples, seed: int, progress: bool = True) -> Examples:
    """The training texts after the alignment, whose noise is drawn once for all epochs; in float16."""
    normal = seeded_normal(training.rows.device, seed, 6)
    parts = training.rows.split(ROWS_AT_ONCE)
    bar = tqdm(parts, desc="aligning texts", unit=f"{ROWS_AT_ONCE} rows", disable=not progress)
    aligned = torch.cat([captioner.alignment.training_side(part, normal).half() for part in bar])
    return Examples(aligned, training.tokens, aligned=True)


def _paired(captioner: Captioner, store: EmbeddingStore, split: str, tokens: CaptionTokens, rows: Tensor) -> Examples:
    """Captions `rows` of `split` with their images' embeddings, aligned once: no noise on that side."""
    images = store.images(split)
    device = tokens.lengths.device
    aligned = in_parts(captioner.alignment.inference_side, images.to(device))
    return Examples(aligned, tokens, torch.from_numpy(store.pairs(split))[rows].to(device), aligned=True)


def _plain(config: DictConfig) -> dict:
    return OmegaConf.to_container(config, resolve=True)
