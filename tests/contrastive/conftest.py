"""Options of models that train in seconds."""

from __future__ import annotations

import pytest


@pytest.fixture
def tiny() -> list[str]:
    """Overrides of model=clip and model=video_clip: two small transformers, and runs of seconds."""
    return [
        "model.embed_dim=16",
        "~model.vision_cfg.timm_model_name",
        "~model.vision_cfg.timm_pool",
        "~model.vision_cfg.timm_proj",
        "+model.vision_cfg={patch_size: 16, width: 32, layers: 1, head_width: 16}",
        "model.text_cfg={context_length: 8, width: 32, heads: 2, layers: 1}",
        "loop.batch_size=8",
        "loop.precision='no'",
        "loop.warmup_steps=2",
        "loop.checkpoint_every=null",
    ]
