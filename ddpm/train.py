"""python -m ddpm.train: train a diffusion model of a data set's text embeddings."""

from __future__ import annotations

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ddpm.diffusion import TextDiffusion
from ddpm.task import DiffusionTask
from embedding_space.alignment import Alignment
from embedding_space.store import EmbeddingStore
from training.cli import command
from training.loop import Loop, LoopConfig
from training.random import EpochOrder
from training.run_folder import open_run, reuse_run
from training.tracking import Tracker


def _no_noise(rows: Tensor) -> Tensor:
    raise ValueError("The prefix must not draw noise: the diffusion model adds its own. Mend the list prefix.")


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/ddpm.yaml` says; returns the validation figures of the last evaluation."""
    store = EmbeddingStore(config.store)
    plain = OmegaConf.to_container(config, resolve=True)
    prefix = Alignment.from_store(plain["prefix"], store)
    torch.manual_seed(config.seed)
    model = TextDiffusion(dim=store.dim, denoiser=plain["denoiser"], prefix=prefix.options(), **plain["diffusion"])
    model.prefix.load_state_dict(prefix.state_dict())
    state = open_run(config.output_dir, config, config.overwrite, {"store": store.hash})
    if state == "finished":
        return reuse_run(config.output_dir)
    loop_config = LoopConfig(**plain["loop"], seed=config.seed)
    loop = Loop(loop_config, config.output_dir, Tracker(**plain["tracker"]))
    rows = prefix.text(store.texts(store.text_split), _no_noise).to(loop.device)
    validation_rows = prefix.text(_spread(store.texts("val"), config.validation_rows), _no_noise)
    order = EpochOrder(len(rows), loop_config.batch_size, config.seed)
    task = DiffusionTask(rows, validation_rows.to(loop.device), order, model.timesteps)
    return loop.fit(model, task, resume=state == "unfinished")


def _spread(rows: Tensor, count: int) -> Tensor:
    """At most `count` rows, evenly spaced."""
    if count < 1:
        raise ValueError(f"validation_rows={count} must be positive (option validation_rows)")
    return rows[torch.linspace(0, len(rows) - 1, min(count, len(rows))).long()]


main = command("ddpm", train)

if __name__ == "__main__":
    main()
