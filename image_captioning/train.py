"""Train a captioner, on text alone unless told otherwise: python -m image_captioning.train [alignment=c3]."""

from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from embedding_space.alignment import Alignment
from embedding_space.store import EmbeddingStore
from image_captioning.captioner import Captioner, build_captioner
from image_captioning.data import CaptionTokens
from image_captioning.task import CaptioningTask, Examples
from image_captioning.tokenizer import load_tokenizer, make_tokenizer
from training.cli import command
from training.loop import Loop, LoopConfig
from training.random import mixed_seed
from training.run_folder import open_run, reuse_run
from training.tracking import Tracker

INPUTS = ("text", "pairs")
SAMPLES = 16


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/image_captioning.yaml` says, or go on, or re-use a finished run; returns its closing figures.

    Raises ValueError or FileNotFoundError with one sentence for bad options and missing or damaged inputs.
    """
    for option in ("train_on", "validate_on"):
        if config[option] not in INPUTS:
            raise ValueError(f"{option}={config[option]!r} must be one of {', '.join(INPUTS)}")
    output_dir = Path(config.output_dir)
    store = EmbeddingStore(config.store)
    alignment = Alignment.from_store(_plain(config.alignment)["steps"], store)
    state = open_run(output_dir, config, config.overwrite, {"store": store.hash, "alignment": alignment.hash})
    if state == "finished":
        return reuse_run(output_dir)
    loop = Loop(LoopConfig(seed=config.seed, **_plain(config.loop)), output_dir, Tracker(**_plain(config.tracker)))
    task = _task(config, store, alignment, loop, resume=state == "unfinished")
    return loop.fit(task.captioner, task, resume=state == "unfinished")


def _task(config: DictConfig, store: EmbeddingStore, alignment: Alignment, loop: Loop, resume: bool) -> CaptioningTask:
    on_pairs = config.train_on == "pairs"
    split = config.dataset.pairs_split if on_pairs else store.text_split
    captions = store.captions(split)
    chosen = _chosen(len(captions), config.train_captions, config.seed)
    if chosen is not None:
        captions = [captions[row] for row in chosen.tolist()]
    decoder = _plain(config.decoder)
    tokenizer = load_tokenizer(loop.output_dir) if resume else make_tokenizer(decoder["tokenizer"], captions)
    limits = (tokenizer, decoder["max_tokens"], decoder["truncate"])

    torch.manual_seed(mixed_seed(config.seed, 4))  # initial weights
    captioner = build_captioner(
        dim=store.dim,
        alignment=alignment,
        tokenizer=tokenizer,
        mapper=decoder["mapper"],
        encoder=store.manifest["encoder"],
        provenance={
            "dataset": config.dataset.name,
            "alignment": config.alignment.name,
            "store_hash": store.hash,
            "image_mean_split": store.manifest["image_mean_split"],
            "seed": config.seed,
            "captions": len(captions),
            "train_on": config.train_on,
            "validate_on": config.validate_on,
            "uses_pairs": "pairs" in (config.train_on, config.validate_on),
        },
        pretrained=decoder["pretrained"],
        config=decoder["config"],
    ).to(loop.device)

    tokens = CaptionTokens.encode(captions, *limits).to(loop.device)
    if on_pairs:
        training = _paired(captioner, store, split, tokens, chosen)
    else:
        texts = store.texts(split)
        training = Examples((texts if chosen is None else texts[chosen]).to(loop.device), tokens)

    split = config.validation_split
    references = store.captions(split)
    rows = _chosen(len(references), config.validation_captions, config.seed)
    rows = torch.arange(len(references)) if rows is None else rows
    references = [references[row] for row in rows.tolist()]
    texts = store.texts(split)[rows].to(loop.device)
    tokens = CaptionTokens.encode(references, *limits).to(loop.device)
    validation = {"text_loss": Examples(texts, tokens)}
    if config.validate_on == "pairs":
        validation["paired_validation_loss"] = _paired(captioner, store, split, tokens, rows)
    return CaptioningTask(
        captioner, training, validation, (texts[:SAMPLES], references[:SAMPLES]),
        config.loop.batch_size, config.seed, config.label_smoothing,
    )  # fmt: skip


def _paired(
    captioner: Captioner, store: EmbeddingStore, split: str, tokens: CaptionTokens, chosen: torch.Tensor | None
) -> Examples:
    """Captions of `split` (its rows `chosen`) with their images' embeddings, aligned once: no noise on that side."""
    images = store.images(split)
    device = tokens.lengths.device
    aligned = torch.cat([captioner.align_images(part.to(device)) for part in images.split(1024)])
    row_of = torch.from_numpy(store.pairs(split))
    return Examples(aligned, tokens, (row_of if chosen is None else row_of[chosen]).to(device), aligned=True)


def _chosen(rows: int, limit: int | None, seed: int) -> torch.Tensor | None:
    """(limit,) row numbers drawn from `rows`, in order; None for all."""
    if limit is None or limit >= rows:
        return None
    generator = torch.Generator().manual_seed(mixed_seed(seed, 5))
    return torch.randperm(rows, generator=generator)[:limit].sort().values


def _plain(config: DictConfig) -> dict:
    return OmegaConf.to_container(config, resolve=True)


main = command("image_captioning", train)

if __name__ == "__main__":
    main()
