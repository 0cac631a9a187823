"""python -m contrastive.train: train a dual encoder (CLIP) on image-text pairs."""

from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from contrastive.checkpoint import build_clip
from contrastive.data import Pairs
from contrastive.manifest import write_manifest
from contrastive.task import ContrastiveTask
from contrastive.word_tokenizer import train_word_tokenizer
from embedding_space.tables import read_tables
from training.cli import command
from training.loop import Loop, LoopConfig
from training.run_folder import open_run, reuse_run
from training.tracking import Tracker


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/contrastive.yaml` says; returns the validation figures of the last evaluation."""
    tables = read_tables(Path(config.dataset.root))
    state = open_run(config.output_dir, config, config.overwrite, {"tables": tables.hash})
    if state == "finished":
        return reuse_run(config.output_dir)
    loop_config = LoopConfig(**OmegaConf.to_container(config.loop), seed=config.seed)
    if loop_config.gradient_accumulation != 1:
        raise ValueError(
            f"loop.gradient_accumulation={loop_config.gradient_accumulation}: the contrastive loss compares all pairs "
            "of a batch, so micro-batches would change it; leave it at 1"
        )
    loop = Loop(loop_config, config.output_dir, Tracker(**config.tracker))
    if (
        loop.accelerator.num_processes > 1
        and loop.device.type != "cuda"
        and "timm_model_name" in config.model.vision_cfg
    ):
        raise ValueError(
            f"{loop.accelerator.num_processes} processes on a CPU: batch statistics of a convolutional tower are "
            "shared between processes on GPUs only; run one process, or a transformer tower"
        )
    torch.manual_seed(config.seed)
    captions = tables.captions["caption"].take(tables.caption_rows(config.dataset.pairs_split)).to_pylist()
    tokenizer = train_word_tokenizer(captions, config.vocabulary_size)
    model_config = OmegaConf.to_container(config.model)
    # Convolutions are nearly twice as fast on pictures whose channels lie innermost.
    model = build_clip(model_config, tokenizer).to(memory_format=torch.channels_last)
    if loop.accelerator.num_processes > 1:
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    shape = (tokenizer, model_config["text_cfg"]["context_length"], model_config["vision_cfg"]["image_size"])
    task = ContrastiveTask(
        Pairs(tables, config.dataset.pairs_split, *shape, loop.device),
        Pairs(tables, config.validation_split, *shape, loop.device),
        batch_size=loop_config.batch_size,
        seed=config.seed,
        shift_pixels=config.shift_pixels,
        preprocess=OmegaConf.to_container(config.preprocess),
        tokenizer=tokenizer,
        ranks=(loop.accelerator.process_index, loop.accelerator.num_processes),
    )
    figures = loop.fit(model, task, resume=state == "unfinished")
    if loop.accelerator.is_main_process:
        write_manifest(config.output_dir, config, tables.hash, figures)
    return figures


main = command("contrastive", train)

if __name__ == "__main__":
    main()
