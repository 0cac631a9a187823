"""model.kind=clip or clap: an open_clip model whose towers are both trained from scratch, on pictures or sounds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import torch
from omegaconf import DictConfig
from transformers import PreTrainedTokenizerBase

from common.config import plain
from contrastive.checkpoint import complete_config, save_open_clip
from contrastive.mirror import MirroredPairs
from contrastive.pairs import Pairs
from contrastive.picture_pairs import PicturePairs, ReadPicture, ReadVideo
from contrastive.setup import Setup
from contrastive.sound_pairs import SoundPairs
from contrastive.word_tokenizer import train_word_tokenizer
from embedding_space.mel import LogMel
from embedding_space.tables import Tables
from embedding_space.videos import PICTURES, shape_of
from training.loop import Loop


def clip_from_scratch(config: DictConfig, tables: Tables, loop: Loop) -> Setup:
    """The setup of configs/model/{clip,video_clip}.yaml.

    Raises ValueError for batch statistics on several processes of a CPU.
    """
    options = plain(config.model)
    preprocess, shift_pixels, words = (options.pop(name) for name in ("preprocess", "shift_pixels", "mirror_words"))
    size, frames, pooling = (
        options["vision_cfg"]["image_size"],
        options.pop("frames", None),
        options.pop("pooling", None),
    )
    read = ReadPicture(size)
    if frames is not None:
        read = ReadVideo(frames, frame_side(pooling, size, frames), pooling)

    def pairs(tokenizer: PreTrainedTokenizerBase, split: str) -> Pairs:
        of = {
            "tables": tables,
            "split": split,
            "device": loop.device,
            "tokenizer": tokenizer,
            "context_length": options["text_cfg"]["context_length"],
            "read": read,
            "mean": preprocess["mean"],
            "std": preprocess["std"],
            "shift_pixels": shift_pixels,
        }
        if words is None:
            return PicturePairs(**of)
        mirrored = MirroredPairs(words, **of)
        if split == config.dataset.pairs_split and not mirrored.directed.any():
            raise ValueError(
                f"model.mirror_words={words}: no caption of {split!r} has one of them, so that nothing would tell a "
                "picture from its mirror image; give words of the captions, or null"
            )
        return mirrored

    return _setup(config, options, tables, loop, preprocess, pairs)


def frame_side(pooling: str, image_size: int | list[int], frames: int) -> int:
    """Pixels of a frame in the picture that a tower of videos reads.

    Args:
        pooling: "grid", a square picture that a square number of frames fills; or "flow" (`flow_picture`).
        image_size: of the picture; or its height and width.

    Raises:
        ValueError: another pooling; the picture has another shape, or the frames do not fill it.
    """
    if pooling not in PICTURES:
        raise ValueError(f"model.pooling={pooling!r} must be one of {', '.join(PICTURES)}")
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if pooling == "flow" and (width != 2 * height or frames < 2):
        raise ValueError(
            "model.pooling=flow makes a picture twice as wide as high of two or more frames, such as "
            f"model.vision_cfg.image_size=[64,128]; here it is {image_size}, of model.frames={frames}"
        )
    rows, columns = shape_of(pooling, frames)
    if pooling == "grid" and (rows * columns != frames or rows != columns or height != width or width % columns):
        raise ValueError(
            f"model.frames={frames} fill no square grid of model.vision_cfg.image_size={image_size} pixels: take 1, "
            "4, 9 or 16, and a size that their root divides"
        )
    return width // columns


def clap_from_scratch(config: DictConfig, tables: Tables, loop: Loop) -> Setup:
    """The setup of configs/model/clap.yaml: the image tower reads log-mel spectrograms. Raises as `clip_from_scratch`,
    and for options that `LogMel` refuses."""
    options = plain(config.model)
    try:
        mel = LogMel(**options.pop("sound"))
    except ValueError as error:
        raise ValueError(str(error).replace("encoder.sound.", "model.sound.")) from error
    augmentation = {name: options.pop(name) for name in ("shift_frames", "gain_db", "mask_mels")}
    size = [mel.mels, mel.frames]
    options["vision_cfg"]["image_size"] = size
    preprocess = {
        "size": size,
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
    }  # open_clip wants some; sounds do not go through it

    def pairs(tokenizer: PreTrainedTokenizerBase, split: str) -> Pairs:
        length = options["text_cfg"]["context_length"]
        return SoundPairs(tables, split, loop.device, tokenizer, length, mel, **augmentation)

    return _setup(config, options, tables, loop, preprocess, pairs, mel.save)


def _setup(
    config: DictConfig,
    options: dict[str, Any],
    tables: Tables,
    loop: Loop,
    preprocess: dict[str, Any],
    pairs: Callable[[PreTrainedTokenizerBase, str], Pairs],
    save_more: Callable[[Path], None] = lambda folder: None,
) -> Setup:
    """Both towers of `options`, what is left of the model's config; `pairs` are those of a tokenizer and a split."""
    del options["kind"]
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

    def save(model: open_clip.CLIP, folder: Path) -> None:
        save_open_clip(model, folder, model_config, preprocess, tokenizer)
        save_more(folder)

    return Setup(
        model,
        pairs=partial(pairs, tokenizer),
        save=save,
        load=lambda folder: open_clip.create_model(f"local-dir:{folder}"),
        weights="open_clip_model.safetensors",
    )
