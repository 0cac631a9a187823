"""Fixtures: small configs of modality_translation.train."""

from __future__ import annotations

import pytest

TINY = (
    "dataset.pairs_split=pretrain", "model.cdim.denoiser.width=24", "model.cdim.denoiser.depth=2",
    "model.cdim.denoiser.time_width=8", "model.cdim.denoiser.dropout=0", "sampling.steps=3",
    "loop.batch_size=16", "loop.warmup_steps=0", "loop.evaluate_every=null", "loop.checkpoint_every=null",
    "loop.ema_decay=null", "loop.learning_rate=3e-3",
)  # fmt: skip


@pytest.fixture
def configured(make_store, add_towers, compose, tmp_path):
    """Compose a tiny run's config: `configured(folder name, overrides...)`; `towers=True` on a store of two towers."""
    store = make_store(dim=16, images=48)

    def config(name: str, *overrides: str, towers: bool = False, steps: int = 3):
        path = (configured_towers() if towers else store).path
        mlp = any("translator@model=mlp" in override for override in overrides)
        tiny = [option for option in TINY if not (mlp and option.startswith("model."))]
        stores = (f"image_store={path}", f"text_store={path}")
        return compose(
            "modality_translation", *stores, f"output_dir={tmp_path / name}", *tiny, f"loop.steps={steps}", *overrides
        )

    made = {}

    def configured_towers():
        if "towers" not in made:
            made["towers"] = add_towers(store)
        return made["towers"]

    config.store, config.towers = store, configured_towers
    return config
