"""Low-rank adapters: a pretrained decoder stays as it is, and small matrices beside its layers are trained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from pydantic import SkipValidation
from torch import Tensor, nn

from common.characters import one_line
from common.checks import BelowOne, Count, Positive, checked_options
from common.extras import require

ADAPTER, WRAPPED = "lora_", ".base_layer."  # in peft's names of weights


@checked_options("decoder.lora.")
def add_lora(
    model: SkipValidation[Any],
    rank: Count = 8,
    alpha: Positive = 16.0,
    dropout: BelowOne = 0.0,
    target_modules: str | list[str] | None = None,
) -> None:
    """Put adapters beside layers of a language model, in place; they alone are trainable then (Hu et al. 2021, LoRA,
    arXiv 2106.09685, by the library peft).

    Args:
        rank: r, the inner width of an adapter.
        alpha: an adapter's output is scaled by alpha / rank.
        dropout: of an adapter's input.
        target_modules: names of the layers; `all-linear`; or peft's choice for the family by default.

    Raises:
        ImportError: peft is not installed.
        ValueError: bad options, or no layer of these names.
    """
    require("peft")
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=target_modules)  # pyright: ignore[reportArgumentType]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")  # peft then sets it itself
            inject_adapter_in_model(config, model)
    except ValueError as error:
        raise ValueError(
            f"decoder.lora.target_modules={target_modules} fits no layers of this decoder ({one_line(error)}): name "
            "some of its layers, or all-linear"
        ) from error
    for name, weights in model.named_parameters():
        weights.requires_grad = ADAPTER in name
        if weights.requires_grad:  # those of a decoder in half precision, too: their steps are too small for it
            weights.data = weights.data.float()


def merged_weights(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of the same model without adapters, with each adapter's product added to its layer's weights.

    The sums are in float32: half precision would round most of a small product away.
    """
    weights = {name.replace(WRAPPED, "."): value for name, value in model.state_dict().items() if ADAPTER not in name}
    for name, layer in model.named_modules():
        if hasattr(layer, "get_delta_weight"):
            change = layer.get_delta_weight("default")  # pyright: ignore[reportCallIssue]
            weights[f"{name}.weight"] = weights[f"{name}.weight"].float() + change.float()
    return weights


def load_plain(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load the weights of a model without adapters into one that may have some, which stay as they are.

    Raises:
        RuntimeError: they are of another model.
    """
    ours = model.state_dict()
    plain = {name: name.replace(WRAPPED, ".") for name in ours if ADAPTER not in name}
    kept = {name: value for name, value in ours.items() if ADAPTER in name}
    model.load_state_dict({**kept, **{name: weights[source] for name, source in plain.items() if source in weights}})
