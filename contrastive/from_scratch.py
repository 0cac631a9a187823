"""model.kind=clip: an open_clip model whose towers are both trained from scratch."""

from __future__ import annotations

from functools import partial

import open_clip
import torch
from omegaconf import DictConfig

from common.config import plain
from contrastive.checkpoint import complete_config, save_open_clip
from contrastive.picture_pairs import PicturePairs
from contrastive.setup import Setup
from contrastive.word_tokenizer import train_word_tokenizer
from embedding_space.tables import Tables
from training.loop import Loop


def clip_from_scratch(config: DictConfig, tables: Tables, loop: Loop) -> Setup:
    """The setup of configs/model/clip.yaml. Raises ValueError for batch statistics on several processes of a CPU."""
    options = plain(config.model)
    del options["kind"]
    preprocess, shift_pixels = options.pop("preprocess"), options.pop("shift_pixels")
    processes = loop.accelerator.num_processes
    if processes > 1 and loop.device.type != "cuda" and "timm_model_name" in options["vision_cfg"]:
        raise ValueError(
            f"{processes} processes on a CPU: batch statistics of a convolutional tower are "
            "shared between processes on GPUs only; run one process, or a transformer tower"
        )
    captions = tables.captions["caption"].take(tables.caption_rows(config.dataset.pairs_split)).to_pylist()
    tokenizer = train_word_tokenizer(captions, options.pop("vocabulary_size"))
    torch.manual_seed(config.seed)
    model_config = complete_config(options, tokenizer)
    # Convolutions are nearly twice as fast when channels are the innermost dimension.
    model = open_clip.CLIP(**model_config).to(memory_format=torch.channels_last)
    if processes > 1:
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return Setup(
        model,
        pairs=lambda split: PicturePairs(
            tables,
            split,
            loop.device,
            tokenizer,
            options["text_cfg"]["context_length"],
            options["vision_cfg"]["image_size"],
            preprocess["mean"],
            preprocess["std"],
            shift_pixels,
        ),
        save=partial(save_open_clip, model_config=model_config, preprocess=preprocess, tokenizer=tokenizer),
        load=lambda folder: open_clip.create_model(f"local-dir:{folder}"),
        weights="open_clip_model.safetensors",
    )
