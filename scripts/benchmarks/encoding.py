"""Encoding: images and texts per second, on made-up photos and captions, as configured."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from common.config import compose_config, plain
from embedding_space.encoders.base import Encoder
from embedding_space.encoders.load import load_encoder
from scripts.benchmarks.captioning import made_up_captions
from scripts.benchmarks.timing import median_seconds, with_ratios


def benchmark_encode(config: DictConfig, repeats: int) -> list[dict]:
    """Images and texts per second: ours in batches, the reference's side (as C³ prepares data) one by one in float32.

    Reading and resizing the JPEG files is part of the work. "cosine" is the mean cosine of both sides' rows.
    """
    with tempfile.TemporaryDirectory() as folder:
        pictures, sentences = make_pictures(Path(folder), config.images), made_up_captions(config.texts)
        ours, reference = make_encoder(config, config.precision), make_encoder(config, "fp32")
        return [
            *_compare("image", pictures, config.images_single, ours, reference, repeats),
            *_compare("text", sentences, config.texts_single, ours, reference, repeats),
        ]


def _compare(
    kind: str, items: list[Any], single: int, ours: Encoder, reference: Encoder, repeats: int
) -> list[dict[str, Any]]:
    encode: Callable[[list[Any]], Tensor] = ours.encode_images if kind == "image" else ours.encode_texts
    encode_one = reference_image if kind == "image" else reference_text

    def one_at_a_time() -> Tensor:
        return torch.stack([encode_one(reference, item) for item in items[:single]])

    calls = {
        f"{kind}s, batched, {ours.precision}": lambda: encode(items),
        f"{kind}s, one at a time, fp32 (reference)": one_at_a_time,
    }
    seconds = median_seconds(calls, repeats)
    cosine = F.cosine_similarity(encode(items[:single]), one_at_a_time()).mean().item()
    rows = [
        {"encode": name, "items per second": count / seconds[name], "cosine": cosine}
        for name, count in zip(calls, (len(items), min(single, len(items))), strict=True)
    ]
    return with_ratios(rows, "items per second")


def make_pictures(folder: Path, count: int) -> list[Path]:
    """JPEG files of 640 x 480 pixels, as COCO's: smooth patches of color, which compress about as photos do."""
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        patches = Image.fromarray(random.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        patches.resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def make_encoder(config: DictConfig, precision: str) -> Encoder:
    """The encoder of prepare_data with `config.overrides`; random weights are the same at every call."""
    options = plain(compose_config("prepare_data", *config.overrides).encoder)
    options |= {"precision": precision, "workers": config.workers}
    torch.manual_seed(0)
    return load_encoder(**options)


@torch.inference_mode()
def reference_image(encoder: Encoder, path: Path) -> Tensor:
    """(D,) row of one image file, the only one in its batch, decoded by this process."""
    picture = encoder.preprocess(Image.open(path).convert("RGB"))[None].to(encoder.device)
    return F.normalize(encoder.image_features(picture), dim=-1)[0].cpu()


@torch.inference_mode()
def reference_text(encoder: Encoder, sentence: str) -> Tensor:
    """(D,) row of one sentence, the only one in its batch."""
    return F.normalize(encoder.text_features([sentence]), dim=-1)[0].cpu()
