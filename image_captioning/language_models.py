"""Decoders: transformers' causal language models, made from their configuration in JSON, never from code beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from sys import maxsize
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from common.characters import one_line
from common.files import file_sha256
from common.registry import look_up
from image_captioning.hub import find_hub_folder

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Of every configuration, but not part of what a model computes; the rest of what all have is kept.
GENERIC = {*PretrainedConfig().to_dict(), "use_cache"} - {
    "model_type", "tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id",
}  # fmt: skip
ROTARY = ("rope_theta", "rope_scaling")  # names that transformers < 5 has for parts of rope_parameters
# They would choose code: of a download, of the Hub's kernels, or of a quantizer.
CODE = {"auto_map", "attn_implementation", "_attn_implementation", "experts_implementation", "quantization_config"}
CACHE_TOLERANCE = 1e-3  # of logits, relative: rounding in float32 makes 1e-6, a cache that is not read 1e-2
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "max_sequence_length")


@dataclass(frozen=True)
class Pretrained:
    """A pretrained language model.

    Attributes:
        options: its configuration, for `make_language_model`.
        weights: its state dict.
        vocabulary: how many tokens its embeddings have.
    """

    options: dict[str, Any]
    weights: dict[str, Tensor]
    vocabulary: int


def make_language_model(options: Mapping) -> PreTrainedModel:
    """A model with random weights, of transformers' own class for its type.

    Args:
        options: `{"model_type": gpt2 by default, "dtype": fp32, bf16 or fp16, ...}`, the configuration's options.

    Raises:
        ValueError: an unknown type or option, one that would choose code, or values that make no model.
    """
    options = dict(options)
    kind = options.pop("model_type", "gpt2")
    dtype = look_up(options.pop("dtype", "fp32"), DTYPES, "dtype", "decoder.dtype")
    check_type(kind)
    known = _known(kind)
    unknown = [name for name in options if name not in known] + sorted(CODE & set(_names(options)))
    if unknown:
        raise ValueError(f"{kind} has no option {unknown[0]!r} (decoder.config); known: {', '.join(sorted(known))}")
    try:
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **options))
    except Exception as error:  # each family checks in its own way
        raise ValueError(f"These options (decoder.config) make no {kind}: {one_line(error)}") from error
    for weights in model.parameters():  # buffers, such as rotary frequencies, need their precision
        weights.data = weights.data.to(dtype)
    return model


def _known(kind: str) -> set[str]:
    """The names of a type's options."""
    known = {*AutoConfig.for_model(kind).to_dict()} - GENERIC - CODE
    return known | set(ROTARY) if "rope_parameters" in known else known


def _names(options: Mapping) -> Iterator[str]:
    """Every key of the options and of what they hold."""
    for name, value in options.items():
        yield name
        if isinstance(value, Mapping):
            yield from _names(value)


def check_type(kind: object) -> None:
    """Raise ValueError unless transformers has a causal language model of this type."""
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ValueError(
            f"it is of the type {kind!r}, for which transformers has no causal language model: name one that writes "
            "from left to right, such as gpt2, llama or qwen3"
        )


def load_pretrained(name: str) -> Pretrained:
    """A pretrained model by name or folder.

    Raises:
        ValueError: it cannot be loaded, or is no causal language model.
    """
    try:
        folder = find_hub_folder(name)
        config = json.loads((folder / "config.json").read_text())
        check_type(config.get("model_type"))
        if config.get("quantization_config"):
            raise ValueError("it is quantized: name the model that it was made from")
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, output_loading_info=True, use_safetensors=True, trust_remote_code=False
        )
        model, loading = loaded
        check_causal(model)
        if loading["missing_keys"]:
            raise ValueError(f"it lacks {', '.join(sorted(loading['missing_keys'])[:3])}")
    except Exception as error:  # offline, unknown or damaged
        raise ValueError(
            f"The language model {name!r} cannot be loaded (option decoder.pretrained): {one_line(error)}"
        ) from error
    return Pretrained(describe(model.config), model.state_dict(), model.get_input_embeddings().num_embeddings)


def describe(config: PretrainedConfig) -> dict[str, Any]:
    """The JSON values from which `make_language_model` makes the same architecture."""
    known = _known(config.model_type)
    options = {name: value for name, value in config.to_dict().items() if name in known}
    return json.loads(json.dumps({"model_type": config.model_type, **options}))


def check_causal(model: PreTrainedModel) -> None:
    """Raise ValueError for a model that cannot continue embeddings, whose first word depends on later ones, that gives
    more logits than it is asked for, or that writes otherwise with a cache than without, as models without keys and
    values do."""
    training, dtypes = model.training, [weights.dtype for weights in model.parameters()]
    model.eval()
    for weights in model.parameters():  # in half precision, rounding would look like another cache
        weights.data = weights.data.float()
    try:
        _check_steps(model)
    finally:
        model.train(training)
        for weights, dtype in zip(model.parameters(), dtypes, strict=True):
            weights.data = weights.data.to(dtype)


def _check_steps(model: PreTrainedModel) -> None:
    """`check_causal` of a model in float32 whose dropout is off."""
    embedding: Any = model.get_input_embeddings()
    rows = torch.randn(1, 3, embedding.embedding_dim, generator=torch.Generator().manual_seed(0)).requires_grad_()
    kind, other = model.config.model_type, "name another model, such as a gpt2, llama or qwen3"
    try:
        logits = model(inputs_embeds=rows, use_cache=False, logits_to_keep=3).logits  # (1, 3, V)
    except Exception as error:
        raise ValueError(f"a {kind} cannot continue embeddings ({one_line(error)}): {other}") from error
    gradient = torch.autograd.grad(logits[0, 0].sum(), rows)[0]  # (1, 3, W)
    if gradient[:, 1:].any():
        raise ValueError(
            f"it is a {kind} whose words depend on those after them, and so is no causal language model: name one "
            "that writes from left to right"
        )
    cache = {cache_argument(model): DynamicCache()}  # as captions are written
    try:
        with torch.no_grad():
            first, second = (  # (1, 1, V) each
                model(inputs_embeds=part, use_cache=True, logits_to_keep=1, **cache).logits
                for part in rows.split([2, 1], dim=1)
            )
    except Exception as error:
        raise ValueError(f"a {kind} cannot go on from a cache ({one_line(error)}): {other}") from error
    if first.shape[1] != 1:
        raise ValueError(f"a {kind} gives logits of {first.shape[1]} words where those of 1 are asked for: {other}")
    if (second[0, 0] - logits[0, 2]).norm() > CACHE_TOLERANCE * logits[0, 2].norm():
        raise ValueError(f"a {kind} writes otherwise with its cache than without: {other}")


def cache_argument(model: PreTrainedModel) -> str:
    """The cache's name: `past_key_values` in older versions of transformers, `cache` in newer ones."""
    return "cache" if "cache" in signature(model.forward).parameters else "past_key_values"


def positions(model: PreTrainedModel) -> int:
    """How many tokens the model reads at most; `sys.maxsize` for one without a limit, such as Bloom."""
    config = model.config.get_text_config()
    return next((getattr(config, name) for name in POSITIONS if getattr(config, name, None)), maxsize)


def identify(name: str) -> dict[str, str]:
    """The name of a pretrained model and the SHA-256 of its weights' files, by which a checkpoint refers to it.

    Raises:
        FileNotFoundError: there is none.
    """
    digest = hashlib.sha256()
    for path in sorted(find_hub_folder(name).glob("*.safetensors")):
        digest.update(file_sha256(path).encode())
    return {"name": name, "sha256": digest.hexdigest()}


def base_weights(base: Mapping[str, str]) -> dict[str, Tensor]:
    """The weights of the pretrained model that a checkpoint refers to.

    Raises:
        ValueError: it is missing, or is no longer the same.
    """
    name = base["name"]
    try:
        same = identify(name)["sha256"] == base["sha256"]
    except FileNotFoundError as error:
        raise ValueError(
            f"The captioner was trained beside the decoder {name}, which its checkpoint does not hold and which is "
            f"missing ({error}); a copy by scripts/export.py needs no other model"
        ) from error
    if not same:
        raise ValueError(
            f"The captioner was trained beside the decoder {name}, which has other weights now: bring those back, or "
            "train it again with overwrite=true"
        )
    return load_pretrained(name).weights
