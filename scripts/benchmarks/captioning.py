"""Captioner: training tokens per second, on made-up captions as long as COCO's."""

from __future__ import annotations

import tempfile
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from alignment.chain import Alignment
from alignment.steps import Normalize
from common.config import compose_config, plain
from common.device import best_device, computes_bf16
from image_captioning.build import build_captioner
from image_captioning.captioner import Captioner
from image_captioning.data import CaptionTokens
from image_captioning.task import CaptioningTask, Examples
from image_captioning.tokenizer import make_tokenizer
from scripts.benchmarks.diffusion import random_rows
from scripts.benchmarks.timing import ClockedTask, StepClock, endless, parameters, with_ratios
from training.loop import Loop, LoopConfig


def benchmark_captioner(config: DictConfig, repeats: int) -> list[dict]:
    """Training at equal batch and equal weights; tokens are those of captions, padding does not count."""
    ways: dict[str, str | None] = {
        f"batches of like length, {precision}": precision for precision in measured_precisions()
    }
    ways["padded to the longest, DataLoader, fp32 (reference)"] = None
    size = parameters(make_captioner(config, made_up_captions(config.captions)))
    table = [
        {
            "captioner": name,
            "million parameters": size,
            "tokens per second": benchmark_training(config, repeats, precision)[0],
        }
        for name, precision in ways.items()
    ]
    return with_ratios(table, "tokens per second")


def measured_precisions() -> list[str]:
    """fp32, and before it bf16 where the hardware has instructions for it."""
    return [*(["bf16"] if computes_bf16(best_device()) else []), "fp32"]


def benchmark_training(config: DictConfig, repeats: int, precision: str | None) -> tuple[float, float]:
    """Tokens, and steps, per second of training; without a precision, as the reference does it."""
    captions = made_up_captions(config.captions)
    steps = config.warmup + config.steps * repeats
    captioner = make_captioner(config, captions)
    tokenizer: Any = captioner.tokenizer
    tokens = CaptionTokens.encode(captions, tokenizer, max(map(len, captions)))
    rows, clock = random_rows(len(captions), config.dim), StepClock()
    if precision is None:
        counts = _reference_loop(captioner, rows, tokens, config, steps, clock)
    else:
        counts = _our_loop(captioner, rows, tokens, config, steps, clock, precision)
    return clock.rate(counts, config.warmup), clock.rate([1] * steps, config.warmup)


def made_up_captions(count: int) -> list[str]:
    """Sentences of made-up words, as long as COCO's captions and as unequally frequent."""
    random, lengths = np.random.default_rng(0), caption_lengths(count)
    frequencies = 1 / np.arange(1, 10_001)  # Zipf's law
    words = random.choice(10_000, lengths.sum(), p=frequencies / frequencies.sum())
    return [" ".join(f"w{word}" for word in part) for part in np.split(words, lengths.cumsum()[:-1])]


def caption_lengths(count: int) -> np.ndarray:
    """(count,) made-up lengths as COCO's captions have, in words: 10.5 ± 2.4, and one in 500 from 21 to 49."""
    random = np.random.default_rng(0)
    lengths = random.normal(10.5, 2.4, count).round().clip(5, 20).astype(int)
    return np.where(random.random(count) < 0.002, random.integers(21, 50, count), lengths)


def make_captioner(config: DictConfig, captions: list[str]) -> Captioner:
    """A captioner with random weights, the same at every call: the decoder of image_captioning with `overrides`."""
    decoder = plain(compose_config("image_captioning", *config.overrides).decoder)
    torch.manual_seed(0)
    return build_captioner(
        dim=config.dim,
        alignment=Alignment([Normalize()]),
        tokenizer=make_tokenizer(decoder["tokenizer"], captions),
        mapper=decoder["mapper"],
        encoder={"name": "none"},
        provenance={},
        pretrained=decoder["pretrained"],
        config=decoder["config"],
    )


def _our_loop(
    captioner: Captioner, rows: Tensor, tokens: CaptionTokens, config: DictConfig, steps: int, clock: StepClock,
    precision: str,
) -> list[int]:  # fmt: skip
    """As `python -m image_captioning.train` with the loop's options there; returns the tokens of each step."""
    options = plain(compose_config("image_captioning", *config.overrides).loop)
    options |= {"steps": steps, "batch_size": config.batch_size, "precision": precision}
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        loop = Loop(LoopConfig(**options), folder)
        examples = Examples(rows.to(loop.device), tokens.to(loop.device))
        task = CaptioningTask(captioner, examples, {}, (rows[:0], []), config.batch_size, seed=0)
        loop.fit(captioner, ClockedTask(task, clock))
        return [int(task.lengths[task.order.batch(step)].sum()) for step in range(steps)]


def _reference_loop(
    captioner: Captioner, rows: Tensor, tokens: CaptionTokens, config: DictConfig, steps: int, clock: StepClock
) -> list[int]:
    """ClipCap's kind of training, which C³ and Diffusion Bridge share, in float32; returns the tokens of each step.

    A DataLoader with worker processes, every caption padded to one length (the longest, at most mean + 10 standard
    deviations), transformers' own forward with an attention mask, AdamW, the loss read back at every step.
    """
    device = best_device()
    captioner.to(device).train()
    lengths = tokens.lengths.float()
    padded, mask = tokens.batch(torch.arange(len(tokens)), int(min(lengths.mean() + 10 * lengths.std(), lengths.max())))
    dataset = TensorDataset(rows, padded, mask)
    loader = DataLoader(dataset, config.batch_size, shuffle=True, drop_last=True, num_workers=config.workers)
    optimizer = torch.optim.AdamW(captioner.parameters(), lr=2e-5)
    counts = []
    for batch in islice(endless(loader), steps):
        clock.tick()
        loss = padded_loss(captioner, *(part.to(device) for part in batch))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        counts.append(int(batch[2].sum()))
    clock.tick()
    return counts


def padded_loss(captioner: Captioner, rows: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean loss a token, in nats, by transformers' forward over prefix and all padded tokens."""
    prefix = captioner.mapper(captioner.alignment.clean_side(rows))
    inputs = torch.cat([prefix, captioner.decoder.get_input_embeddings()(tokens)], dim=1)  # (B, P + T, W)
    seen = torch.cat([mask.new_ones(prefix.shape[:2]), mask], dim=1)
    logits = captioner.decoder(inputs_embeds=inputs, attention_mask=seen.long()).logits[:, prefix.shape[1] - 1 : -1]
    return F.cross_entropy(logits.transpose(1, 2), tokens.masked_fill(~mask, -100), ignore_index=-100)
