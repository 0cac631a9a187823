"""A captioner to train: a new mapper and a language model that is pretrained or from scratch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import PreTrainedTokenizerFast

from alignment.chain import Alignment
from image_captioning.captioner import Captioner
from image_captioning.language_models import check_causal, identify, load_pretrained
from image_captioning.lora import load_plain
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
    lora: Mapping | None = None,
    dtype: str | None = None,
    by_reference: bool = False,
    parts: PrefixParts | None = None,
) -> Captioner:
    """A captioner to train: the language model `pretrained` by name or folder, or from scratch with options `config`.

    Args:
        lora: options of adapters beside the decoder's layers, see `add_lora`.
        dtype: of the decoder's weights, fp32 by default.
        by_reference: the decoder's own weights will not be trained, so that checkpoints name `pretrained` and do not
            copy it.

    Raises:
        ValueError: both or neither of these, a model that is no causal language model or cannot be loaded, or a
            tokenizer with more tokens than the model.
    """
    options, weights = language_model_to_train(tokenizer, pretrained, config, dtype)
    values = {"mapper": mapper, "decoder": options, "encoder": encoder, "provenance": provenance}
    if lora is not None:
        values["lora"] = lora
    if by_reference and pretrained is not None:
        values["base"] = identify(str(pretrained))
    values = {name: json.loads(json.dumps(dict(value))) for name, value in values.items()}
    parts_options = {} if parts is None else {"parts": parts.options()}
    captioner = Captioner(dim=dim, alignment=alignment.options(), **values, **parts_options)
    captioner.alignment, captioner.tokenizer, captioner.parts = alignment, tokenizer, parts
    if weights is None:
        check_causal(captioner.decoder)
    else:
        load_plain(captioner.decoder, weights)
    return captioner


def language_model_to_train(
    tokenizer: PreTrainedTokenizerFast,
    pretrained: str | None = None,
    config: Mapping | None = None,
    dtype: str | None = None,
) -> tuple[dict[str, Any], dict[str, Tensor] | None]:
    """The options of a language model for `tokenizer`, and the weights of a pretrained one; arguments as of
    `build_captioner`.

    Raises:
        ValueError: as `build_captioner`.
    """
    if (pretrained is None) == (config is None):
        raise ValueError(
            f"Give exactly one of decoder.pretrained={pretrained} (a language model by name or folder) and "
            "decoder.config (from scratch)"
        )
    precision = {} if dtype in (None, "fp32") else {"dtype": dtype}
    if config is not None:
        end = tokenizer.eos_token_id
        options = {"model_type": "gpt2", **config, "vocab_size": len(tokenizer), "bos_token_id": end}
        options["eos_token_id"] = end
        return options | precision, None
    loaded = load_pretrained(str(pretrained))
    if len(tokenizer) > loaded.vocabulary:
        raise ValueError(
            f"The tokenizer has {len(tokenizer)} tokens, {pretrained} only {loaded.vocabulary}: "
            "set decoder.tokenizer.name to the tokenizer that it was trained with"
        )
    return loaded.options | precision, loaded.weights
