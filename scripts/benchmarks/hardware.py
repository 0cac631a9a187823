"""This machine: matrix products per second in each precision, the one that `auto` chooses, and its effect."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from omegaconf import DictConfig

from common.device import best_device, choose_precision, computing_on
from image_captioning.generation import Decoding
from scripts.benchmarks.captioning import benchmark_training, made_up_captions, make_captioner
from scripts.benchmarks.diffusion import random_rows
from scripts.benchmarks.encoding import make_encoder, make_pictures
from scripts.benchmarks.timing import median_seconds

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SMALL = 256  # a product that even an emulated precision has done in half a second
EMULATED = 5.0  # GFLOP/s, of a small product: so slow is no instruction of the hardware


def benchmark_hardware(config: DictConfig, repeats: int) -> list[dict]:
    """A row for each measurement: matrix products, then encoding, training and captioning in `auto`'s precision."""
    device = best_device()
    precision = choose_precision("auto", device)
    print(f"auto on this machine: {computing_on(device, precision)}", flush=True)
    rows = []
    for name, dtype in DTYPES.items():
        size, rate = SMALL, product_rate(SMALL, dtype, device, repeats)
        if rate > EMULATED:
            size, rate = config.size, product_rate(config.size, dtype, device, repeats)
        what = f"matrix product {size} x {size}, {name}{' (what auto takes)' if name == precision else ''}"
        rows.append({"hardware": what, "rate": rate, "unit": "GFLOP/s"})
    for unit, rate in {**encoding_rates(config.encode, repeats), **decoder_rates(config.decoder, repeats)}.items():
        rows.append({"hardware": f"{unit}, {precision}", "rate": rate, "unit": "per second"})
    return rows


def product_rate(size: int, dtype: torch.dtype, device: torch.device, repeats: int) -> float:
    """10^9 floating-point operations per second of a square matrix product."""
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = median_seconds({"product": lambda: left @ right}, repeats)["product"]
    return 2 * size**3 / seconds / 1e9


def encoding_rates(config: DictConfig, repeats: int) -> dict[str, float]:
    """Pictures (JPEG files, read and resized) and captions per second, by an encoder of prepare_data."""
    with tempfile.TemporaryDirectory() as folder:
        pictures, captions = make_pictures(Path(folder), config.images), made_up_captions(config.texts)
        encoder = make_encoder(config, "auto")
        name = encoder.description["name"]
        calls = {
            f"pictures encoded by {name}": lambda: encoder.encode_images(pictures),
            f"captions encoded by {name}": lambda: encoder.encode_texts(captions),
        }
        counts = (len(pictures), len(captions))
        seconds = median_seconds(calls, repeats)
        return {what: count / seconds[what] for what, count in zip(calls, counts, strict=True)}


def decoder_rates(config: DictConfig, repeats: int) -> dict[str, float]:
    """Training steps, and greedy captions, per second of a decoder of image_captioning."""
    tokens, steps = benchmark_training(config, repeats, "auto")
    captioner = make_captioner(config, made_up_captions(config.captions)).to(best_device()).eval()
    images, decoding = random_rows(config.rows, config.dim), Decoding(max_new_tokens=12)
    calls = {"captions": lambda: captioner.caption_images(images, decoding, config.rows, False, "auto")}
    return {
        f"training steps of {config.batch_size} captions": steps,
        "tokens trained on": tokens,
        "captions written, greedy, 12 tokens each": len(images) / median_seconds(calls, repeats)["captions"],
    }
