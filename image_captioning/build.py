"""A captioner to train: a new mapper and a GPT-2 that is pretrained or from scratch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from alignment.chain import Alignment
from common.characters import one_line
from image_captioning.captioner import GPT2_OPTIONS, Captioner
from image_captioning.hub import find_hub_folder
from image_captioning.prefix_parts.parts import PrefixParts


def build_captioner(
    dim: int,
    alignment: Alignment,
    tokenizer: PreTrainedTokenizerFast,
    mapper: Mapping,
    encoder: Mapping,
    provenance: Mapping,
    pretrained: str | None = None,
    config: Mapping | None = None,
    parts: PrefixParts | None = None,
) -> Captioner:
    """A captioner to train: GPT-2 `pretrained` by name or folder, or from scratch with the options `config`.

    Raises:
        ValueError: both or neither of these, a model that is not a GPT-2 or cannot be loaded, or a tokenizer with more
            tokens than the model.
    """
    options, weights = gpt2_to_train(tokenizer, pretrained, config)
    values = {"mapper": mapper, "gpt2": options, "encoder": encoder, "provenance": provenance}
    values = {name: json.loads(json.dumps(dict(value))) for name, value in values.items()}
    options = {} if parts is None else {"parts": parts.options()}
    captioner = Captioner(dim=dim, alignment=alignment.options(), **values, **options)
    captioner.alignment, captioner.tokenizer, captioner.parts = alignment, tokenizer, parts
    if weights is not None:
        captioner.gpt2.load_state_dict(weights)
    return captioner


def gpt2_to_train(
    tokenizer: PreTrainedTokenizerFast, pretrained: str | None = None, config: Mapping | None = None
) -> tuple[dict[str, Any], dict[str, Tensor] | None]:
    """The options of a GPT-2 for `tokenizer`, and the weights of a pretrained one; arguments as of `build_captioner`.

    Raises:
        ValueError: as `build_captioner`.
    """
    if (pretrained is None) == (config is None):
        raise ValueError(
            f"Give exactly one of decoder.pretrained={pretrained} (a GPT-2 by name) and decoder.config (from scratch)"
        )
    if config is not None:
        end = tokenizer.eos_token_id
        return {**config, "vocab_size": len(tokenizer), "bos_token_id": end, "eos_token_id": end}, None
    options, weights = _pretrained_gpt2(str(pretrained))
    if len(tokenizer) > options["vocab_size"]:
        raise ValueError(
            f"The tokenizer has {len(tokenizer)} tokens, {pretrained} only {options['vocab_size']}: "
            "set decoder.tokenizer.name to the tokenizer that it was trained with"
        )
    return options, weights


def _pretrained_gpt2(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The options and weights of a pretrained GPT-2."""
    try:
        folder = find_hub_folder(name)
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
        if kind != "gpt2":
            raise ValueError(f"it is a {kind}, not a GPT-2")
        loaded: Any = GPT2LMHeadModel.from_pretrained(folder, output_loading_info=True, use_safetensors=True)
        model, loading = loaded
        if loading["missing_keys"]:
            raise ValueError(f"it lacks {', '.join(sorted(loading['missing_keys'])[:3])}")
    except Exception as error:  # offline, unknown or damaged
        raise ValueError(
            f"The language model {name!r} cannot be loaded (option decoder.pretrained): {one_line(error)}"
        ) from error
    options = {option: getattr(model.config, option) for option in GPT2_OPTIONS if hasattr(model.config, option)}
    return options, model.state_dict()
