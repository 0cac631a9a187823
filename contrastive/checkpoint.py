"""An open_clip `local-dir:` folder: config, fp16 weights and tokenizer, loadable by any open_clip."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerBase

from common.files import whole_file


def build_clip(model_config: dict, tokenizer: PreTrainedTokenizerBase) -> open_clip.CLIP:
    """A fresh open_clip CLIP of `model_config` (embed_dim, vision_cfg, text_cfg, init_logit_scale), which gets the
    tokenizer's size and ids; the completed configuration stays on the model as `model_config`."""
    text = {
        **model_config["text_cfg"],
        "vocab_size": len(tokenizer),
        "hf_tokenizer_name": "local",  # read from the folder itself
        "pad_id": tokenizer.pad_token_id,
        "eos_id": tokenizer.eos_token_id,
        "pool_type": "eos",
    }
    config = {**model_config, "text_cfg": text}
    model = open_clip.CLIP(**config)
    model.model_config = config
    return model


def save_open_clip(model: open_clip.CLIP, folder: Path, preprocess: dict, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write `model` (made by `build_clip`) so that `local-dir:folder` loads it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": model.model_config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = {
        name: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous()
        for name, value in model.state_dict().items()
    }
    with whole_file(folder / "open_clip_model.safetensors") as temporary:
        save_file(weights, temporary)
    tokenizer.save_pretrained(folder)
