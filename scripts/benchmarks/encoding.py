"""Encoding: images and texts a second, on made-up photos and captions, as configured."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor

from common.config import compose_config
from embedding_space.encoders.base import Encoder
from embedding_space.encoders.load import load_encoder
from scripts.benchmarks.captioning import made_up_captions
from scripts.benchmarks.timing import median_seconds, with_ratios


def benchmark_encode(config: DictConfig, repeats: int) -> list[dict]:
    """Images and texts a second: ours in batches, the reference's side (as C³ prepares data) one by one in float32.

    Reading and resizing the JPEG files is part of the work. "cosine" is the mean cosine of both sides' rows.
    """
    with tempfile.TemporaryDirectory() as folder:
        pictures = make_pictures(Path(folder), config.images)
        ours = make_encoder(config, config.precision)
        reference = make_encoder(config, "fp32")
        table = []
        for kind, items, encode, encode_one in (
            ("image", pictures, ours.encode_images, reference_image),
            ("text", made_up_captions(config.texts), ours.encode_texts, reference_text),
        ):
            singles = items[: config[f"{kind}s_single"]]
            calls = {
                f"{kind}s, batched, {ours.precision}": lambda encode=encode, items=items: encode(items),
                f"{kind}s, one at a time, fp32 (reference)": lambda encode_one=encode_one, singles=singles: [
                    encode_one(reference, item) for item in singles
                ],
            }
            seconds = median_seconds(calls, repeats)
            slow = torch.stack([encode_one(reference, item) for item in singles])
            cosine = F.cosine_similarity(encode(singles), slow).mean().item()
            rates = [len(items), len(singles)]
            table += with_ratios(
                [
                    {"encode": name, "items a second": count / seconds[name], "cosine": cosine}
                    for name, count in zip(calls, rates, strict=True)
                ],
                "items a second",
            )
    return table


def make_pictures(folder: Path, count: int) -> list[Path]:
    """JPEG files of 640 x 480 pixels, as COCO's: smooth patches of colour, which compress about as photos do."""
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        patches = Image.fromarray(random.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        patches.resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def make_encoder(config: DictConfig, precision: str) -> Encoder:
    """The encoder of prepare_data with `config.overrides`; random weights are the same at every call."""
    options = OmegaConf.to_container(compose_config("prepare_data", *config.overrides).encoder, resolve=True)
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
