"""Captioner: training tokens a second and captions a second, on made-up captions as long as COCO's."""

from __future__ import annotations

import tempfile
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from embedding_space.alignment import Alignment
from image_captioning.captioner import Captioner, build_captioner
from image_captioning.data import CaptionTokens
from image_captioning.generation import Decoding, generate
from image_captioning.task import CaptioningTask, Examples
from image_captioning.tokenizer import make_tokenizer
from scripts.benchmarks.diffusion import random_rows
from scripts.benchmarks.timing import (
    ClockedTask,
    StepClock,
    best_device,
    endless,
    median_seconds,
    parameters,
    with_ratios,
)
from training.config import compose_config
from training.loop import Loop, LoopConfig


def benchmark_captioner(config: DictConfig, repeats: int) -> list[dict]:
    """Training at equal batch and equal weights; tokens are those of captions, padding does not count."""
    captions = made_up_captions(config.captions)
    steps = config.warmup + config.steps * repeats
    ways = [
        ("batches of like length, bf16", "bf16"),
        ("batches of like length, float32", "no"),
        ("padded to the longest, DataLoader, float32 (reference)", None),
    ]
    table = []
    for name, precision in ways:
        captioner = make_captioner(config, captions)
        tokens = CaptionTokens.encode(captions, captioner.tokenizer, max(map(len, captions)))
        rows, clock = random_rows(len(captions), config.dim), StepClock()
        if precision is None:
            counts = _reference_loop(captioner, rows, tokens, config, steps, clock)
        else:
            counts = _our_loop(captioner, rows, tokens, config, steps, clock, precision)
        rate = clock.rate(counts, config.warmup)
        table.append({"captioner": name, "million parameters": parameters(captioner), "tokens a second": rate})
    return with_ratios(table, "tokens a second")


def benchmark_captions(config: DictConfig, repeats: int) -> list[dict]:
    """Captions a second, greedy and with 5 beams, from the same weights.

    The reference's side writes each caption to its own length, as long as COCO's are; ours writes the whole batch to
    the length of the longest, as it must when all but one have ended. (With random weights no caption ends by itself.)
    "same captions" is the share of the reference's captions whose tokens ours are too.
    """
    captions = made_up_captions(config.captions)
    captioner = make_captioner(config, captions).to(best_device()).eval()
    lengths = caption_lengths(config.rows, longest=20).tolist()
    images = random_rows(config.rows, config.dim).to(captioner.device)
    singles = images[: config.rows_single]
    table = []
    for strategy, beams in (("greedy", 1), ("beam 5", 5)):
        decoding = {"max_new_tokens": max(lengths)} | ({"strategy": "beam", "beams": 5} if beams > 1 else {})
        calls = {
            f"{strategy}, batched, KV cache": lambda options=decoding: captioner.caption_images(
                images, Decoding(**options), config.batch_size, progress=False
            ),
            f"{strategy}, one at a time, no cache (reference)": lambda beams=beams: [
                write_one(captioner, row, length, beams) for row, length in zip(singles, lengths, strict=False)
            ],
        }
        seconds = median_seconds(calls, repeats)
        same = same_captions(captioner, singles, max(lengths), decoding, beams)
        rates = [len(images), len(singles)]
        table += with_ratios(
            [
                {
                    "captions": name,
                    "million parameters": parameters(captioner),
                    "captions a second": count / seconds[name],
                    "same captions": same,
                }
                for name, count in zip(calls, rates, strict=True)
            ],
            "captions a second",
        )
    return table


def made_up_captions(count: int) -> list[str]:
    """Sentences of made-up words, as long as COCO's captions and as unequally frequent."""
    random, lengths = np.random.default_rng(0), caption_lengths(count)
    frequencies = 1 / np.arange(1, 10_001)  # Zipf's law
    words = random.choice(10_000, lengths.sum(), p=frequencies / frequencies.sum())
    return [" ".join(f"w{word}" for word in part) for part in np.split(words, lengths.cumsum()[:-1])]


def caption_lengths(count: int, longest: int = 49) -> np.ndarray:
    """(count,) made-up lengths as COCO's captions have: 10.5 ± 2.4; one in 500 from 21 on where `longest` allows."""
    random = np.random.default_rng(0)
    lengths = random.normal(10.5, 2.4, count).round().clip(5, 20).astype(int)
    long = (random.random(count) < 0.002) & (longest > 20)
    return np.where(long, random.integers(21, max(longest, 21) + 1, count), lengths)


def make_captioner(config: DictConfig, captions: list[str]) -> Captioner:
    """A captioner with random weights, the same at every call: the decoder of image_captioning with `overrides`."""
    decoder = OmegaConf.to_container(compose_config("image_captioning", *config.overrides).decoder, resolve=True)
    torch.manual_seed(0)
    return build_captioner(
        dim=config.dim,
        alignment=Alignment([{"step": "Normalize"}]),
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
    options = OmegaConf.to_container(compose_config("image_captioning", *config.overrides).loop)
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
    prefix = captioner.mapper(captioner.align_texts(rows, torch.zeros_like))
    inputs = torch.cat([prefix, captioner.gpt2.transformer.wte(tokens)], dim=1)  # (B, P + T, W)
    seen = torch.cat([mask.new_ones(prefix.shape[:2]), mask], dim=1)
    logits = captioner.gpt2(inputs_embeds=inputs, attention_mask=seen.long()).logits[:, prefix.shape[1] - 1 : -1]
    return F.cross_entropy(logits.transpose(1, 2), tokens.masked_fill(~mask, -100), ignore_index=-100)


@torch.no_grad()
def write_one(captioner: Captioner, image: Tensor, length: int, beams: int = 1) -> Tensor:
    """(length,) tokens for one image (D,), as ClipCap's generation does: the whole sequence goes through the decoder
    again for every token, the logits of all its positions included. Beams rank by the sum of log-probabilities."""
    gpt2, banned = captioner.gpt2, banned_tokens(captioner)
    inputs = captioner.mapper(captioner.align_images(image[None]))  # (beams, P + t, W)
    scores = inputs.new_zeros(1, 1)
    written = torch.empty(1, 0, dtype=torch.long, device=image.device)
    for _ in range(length):
        logits = gpt2(inputs_embeds=inputs, use_cache=False).logits[:, -1].float().log_softmax(-1)  # (beams, V)
        logits[:, banned] = -torch.inf
        scores, best = (scores + logits).flatten().topk(beams)
        parent, token = best // logits.shape[1], best % logits.shape[1]
        written = torch.cat([written[parent], token[:, None]], dim=1)
        inputs = torch.cat([inputs[parent], gpt2.transformer.wte(token)[:, None]], dim=1)
        scores = scores[:, None]
    return written[0]


def same_captions(captioner: Captioner, images: Tensor, length: int, decoding: dict, beams: int) -> float:
    """Share of `images` for which both sides write the same `length` tokens. Raises ValueError when it is low: then
    the two sides would not do the same work."""
    ours = generate(
        captioner.gpt2,
        captioner.mapper(captioner.align_images(images)),
        Decoding(**decoding),
        captioner.tokenizer.eos_token_id,
        banned_tokens(captioner),
    )
    theirs = torch.stack([write_one(captioner, image, length, beams) for image in images])
    same = (ours == theirs).all(dim=1).float().mean().item() if ours.shape == theirs.shape else 0.0
    if same < 0.9:  # rounding may turn a near tie
        raise ValueError(f"Only {same:.0%} of the captions are the same on both sides: they do not do the same work")
    return same


def banned_tokens(captioner: Captioner) -> list[int]:
    """What a captioner never writes: special tokens but the end."""
    return [token for token in captioner.tokenizer.all_special_ids if token != captioner.tokenizer.eos_token_id]
