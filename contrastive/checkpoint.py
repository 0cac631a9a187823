"""An open_clip `local-dir:` folder: config, fp16 weights and tokenizer, loadable by any open_clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerBase

from common.files import whole_file, write_json


def complete_config(model_config: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """open_clip's model configuration (embed_dim, vision_cfg, text_cfg, init_logit_scale) with the tokenizer's size and
    ids: what `open_clip.CLIP` takes."""
    text = {
        **model_config["text_cfg"],
        "vocab_size": len(tokenizer),
        "hf_tokenizer_name": "local",  # read from the folder itself
        "pad_id": tokenizer.pad_token_id,
        "eos_id": tokenizer.eos_token_id,
        "pool_type": "eos",
    }
    return {**model_config, "text_cfg": text}


def save_open_clip(
    model: open_clip.CLIP,
    folder: Path,
    model_config: dict[str, Any],
    preprocess: dict[str, Any],
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Write the model of `complete_config` so that open_clip loads it as `local-dir:folder`."""
    folder = Path(folder)
    config = {"model_cfg": model_config, "preprocess_cfg": preprocess}
    write_json(folder / "open_clip_config.json", config)
    weights = {
        name: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous()
        for name, value in model.state_dict().items()
    }
    with whole_file(folder / "open_clip_model.safetensors") as temporary:
        save_file(weights, temporary)
    tokenizer.save_pretrained(folder)
