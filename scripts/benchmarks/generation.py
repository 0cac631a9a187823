"""Captioner: captions per second, greedy and with beams."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from common.device import autocast, best_device
from image_captioning.captioner import Captioner
from image_captioning.generation import Decoding, generate
from scripts.benchmarks.captioning import made_up_captions, make_captioner, measured_precisions
from scripts.benchmarks.diffusion import random_rows
from scripts.benchmarks.timing import median_seconds, parameters, with_ratios


def benchmark_captions(config: DictConfig, repeats: int) -> list[dict]:
    """Captions per second, greedy and with 5 beams, from the same weights.

    The reference's side writes each caption to its own length; ours writes the whole batch to the length of the
    longest, as it must when all others have ended. (With random weights no caption ends by itself.) "same captions" is
    the share of the reference's captions whose tokens are ours, too. In bf16 rounding decides between words that are
    almost as probable, of which random weights have many: a trained decoder (the demo's c3) writes 93 % alike.
    """
    captioner = make_captioner(config, made_up_captions(config.captions)).to(best_device()).eval()
    lengths = written_lengths(config.rows).tolist()
    images = random_rows(config.rows, config.dim).to(captioner.device)
    singles = images[: config.rows_single]
    table = []
    for name, beams, options in (("greedy", 1, {}), ("beam 5", 5, {"strategy": "beam", "beams": 5})):
        decoding = Decoding(max_new_tokens=max(lengths), **options)

        def batched(precision: str, decoding: Decoding = decoding, beams: int = beams) -> None:
            captioner.caption_images(images, decoding, max(config.batch_size // beams, 1), False, precision)

        def one_at_a_time(beams: int = beams) -> None:
            for image, length in zip(singles, lengths, strict=False):
                write_one(captioner, image, length, beams)

        precisions = measured_precisions()
        calls: dict[str, Callable[[], None]] = {
            f"{name}, batched, KV cache, {each}": partial(batched, each) for each in precisions
        }
        calls[f"{name}, one at a time, no cache (reference)"] = one_at_a_time
        seconds = median_seconds(calls, repeats)
        theirs = torch.stack([write_one(captioner, image, max(lengths), beams) for image in singles])
        same = []
        for precision in precisions:
            with autocast(captioner.device, precision):
                same.append(same_captions(captioner, singles, decoding, theirs))
        if same[-1] < 0.9:  # in fp32, where rounding may turn a near tie
            raise ValueError(f"Only {same[-1]:.0%} of the captions are the same on both sides: they do not do the same")
        rows = [
            {
                "captions": way,
                "million parameters": parameters(captioner),
                "captions per second": count / seconds[way],
                "same captions": share,
            }
            for way, count, share in zip(
                calls, [*[len(images)] * len(precisions), len(singles)], [*same, 1.0], strict=True
            )
        ]
        table += with_ratios(rows, "captions per second")
    return table


def written_lengths(count: int) -> np.ndarray:
    """(count,) made-up lengths, in words, as a trained decoder (the demo's c3) writes captions: 9.9 ± 1.5, up to 16."""
    return np.random.default_rng(0).normal(9.9, 1.5, count).round().clip(5, 16).astype(int)


@torch.no_grad()
def write_one(captioner: Captioner, image: Tensor, length: int, beams: int = 1) -> Tensor:
    """(length,) tokens for one image (D,), as ClipCap's generation does: the whole sequence goes through the decoder
    again for every token, the logits of all its positions included. Beams rank by the sum of log-probabilities."""
    decoder, banned = captioner.decoder, captioner.banned_tokens()
    inputs = captioner.mapper(captioner.align_images(image[None]))  # (beams, P + t, W)
    scores = inputs.new_zeros(1, 1)
    written = torch.empty(1, 0, dtype=torch.long, device=image.device)
    for _ in range(length):
        logits = decoder(inputs_embeds=inputs, use_cache=False).logits[:, -1].float().log_softmax(-1)  # (beams, V)
        logits[:, banned] = -torch.inf
        scores, best = (scores + logits).flatten().topk(beams)
        parent, token = best // logits.shape[1], best % logits.shape[1]
        written = torch.cat([written[parent], token[:, None]], dim=1)
        inputs = torch.cat([inputs[parent], decoder.get_input_embeddings()(token)[:, None]], dim=1)
        scores = scores[:, None]
    return written[0]


def same_captions(captioner: Captioner, images: Tensor, decoding: Decoding, theirs: Tensor) -> float:
    """Share of `images` for which we write the tokens `theirs` (N, T)."""
    prefix = captioner.mapper(captioner.align_images(images))
    tokenizer: Any = captioner.tokenizer
    ours = generate(captioner.decoder, prefix, decoding, tokenizer.eos_token_id, captioner.banned_tokens())
    return (ours == theirs).all(dim=1).float().mean().item() if ours.shape == theirs.shape else 0.0
