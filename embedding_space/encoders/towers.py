"""Pretrained towers that were not trained together: pictures through timm, sentences through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from timm.data.config import resolve_data_config
from torch import Tensor, nn
from torchvision.transforms.functional import InterpolationMode, center_crop, normalize, pil_to_tensor, resize
from transformers import AutoModel, AutoTokenizer

from common.characters import one_line
from common.paths import PACKAGE, find_in_package, find_local_folder
from embedding_space.encoders.weight_files import read_weights
from embedding_space.encoders.weights import check_weights, hash_weights

IMAGE_POOLINGS = ("mean", "max", "cls", "logits")
TEXT_POOLINGS = ("mean", "cls", "last")
RESIZES = ("crop", "squash")


@dataclass(frozen=True)
class Preprocess:
    """An RGB picture -> (3, S, S) float32.

    Attributes:
        resize: "crop" brings the shorter side to S and crops the center, "squash" brings both sides to S.
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "crop"
    interpolation: str = "bicubic"

    def __call__(self, picture: Image.Image) -> Tensor:
        square = [self.image_size, self.image_size]
        resized: Any = picture  # torchvision takes and gives pictures of PIL, too
        resized = resize(
            resized, square[:1] if self.resize == "crop" else square, InterpolationMode(self.interpolation)
        )
        pixels = pil_to_tensor(center_crop(resized, square)).float() / 255
        return normalize(pixels, list(self.mean), list(self.std))


class ImageTower(nn.Module):
    """A timm model as a source of features: (B, 3, S, S) -> (B, F), frozen.

    Args:
        model: timm's name, with the weights' tag if any: "vit_small_patch14_dinov2.lvd142m".
        weights: "timm" for those that timm fetches; a file (.safetensors, .pth); `package:NAME`, the one .pth file
            inside that installed package; "random" for untrained ones, which only tests want. A file whose names are
            another code's is taken in order, if the number, kind and shape of all tensors agree.
        image_size: pixels; by default what the model was trained at.
        features: what a row is a concatenation of. "mean" and "max" pool the final map over places (patches), "cls" is
            a transformer's class token, "logits" what the classifier says (its names are words, too); "mean@2" pools
            the map behind stage (block) 2, counted from 0 or, as -1, from the end.
        resize: see `Preprocess`. Mean, standard deviation and interpolation are the ones that timm knows of the model.
        sha256: the weights' hash, if other weights are to be refused.

    Attributes:
        description: the arguments, `sha256` among them, that load this tower again.
        dim: F.
        pools_final_map: whether a row is nothing but poolings over the final map's places.

    Raises:
        ValueError: an option is out of range, or the model cannot be loaded as requested; the sentence names it.
        FileNotFoundError: there is no such file of weights.
        ImportError: the package that holds the weights is not installed.
    """

    def __init__(
        self,
        model: str,
        weights: str = "timm",
        image_size: int | None = None,
        features: tuple[str, ...] = ("mean",),
        resize: str = "crop",
        sha256: str | None = None,
    ):
        super().__init__()
        choice = f"image_tower.model={model} image_tower.weights={weights}"
        if resize not in RESIZES:
            raise ValueError(f"image_tower.resize={resize!r} must be one of {', '.join(RESIZES)}")
        self.model = _timm_model(model, weights, image_size, "logits" in features, choice)
        config = resolve_data_config(model=self.model)
        self.preprocess = Preprocess(
            image_size or config["input_size"][-1],
            tuple(config["mean"]),
            tuple(config["std"]),
            resize,
            config["interpolation"],
        )
        self._stages = [_stage(feature, self.model) for feature in features]
        if not self._stages:
            raise ValueError("image_tower.features is empty: name some, such as [mean, max]")
        self.pools_final_map = {*self._stages} <= {("mean", None), ("max", None)}
        self.eval().requires_grad_(False)
        digest = hash_weights(self.model)
        check_weights(choice, sha256, digest)
        self.description = {
            "model": model,
            "weights": weights,
            "image_size": self.preprocess.image_size,
            "features": list(features),
            "resize": resize,
            "sha256": digest,
        }
        self.to(memory_format=torch.channels_last)  # convolutions are faster so
        size = self.preprocess.image_size
        with torch.inference_mode():
            self.dim: int = self(torch.zeros(1, 3, size, size)).shape[-1]

    def train(self, mode: bool = True) -> ImageTower:
        """A frozen tower stays in evaluation mode: batch statistics must not move with the pictures."""
        return super().train(False)

    def final_map(self, pictures: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, W, h, w): the map that "mean" and "max" pool."""
        final = self.model.forward_features(pictures.contiguous(memory_format=torch.channels_last))
        if final.ndim == 4:
            return self._channels_first(final)
        places = final[:, getattr(self.model, "num_prefix_tokens", 0) :].transpose(1, 2)
        return places.unflatten(2, self.model.patch_embed.grid_size)

    def _channels_first(self, final: Tensor) -> Tensor:
        """A map (B, C, H, W), which a few models give as (B, H, W, C)."""
        return final.permute(0, 3, 1, 2) if getattr(self.model, "output_fmt", "NCHW") == "NHWC" else final

    def forward(self, pictures: Tensor) -> Tensor:
        stages = sorted({stage for _, stage in self._stages if stage is not None})
        maps: dict[int | None, Tensor] = {}
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        if stages:
            final, between = self.model.forward_intermediates(pictures, indices=stages)
            maps = {stage: places.flatten(2) for stage, places in zip(stages, between, strict=True)}  # (B, C, P)
        else:
            final = self.model.forward_features(pictures)
        prefix = getattr(self.model, "num_prefix_tokens", 0)
        if final.ndim == 4:
            maps[None] = self._channels_first(final).flatten(2)
        else:  # (B, prefix + P, C)
            maps[None] = final[:, prefix:].transpose(1, 2)
        pooled = []
        for pooling, stage in self._stages:
            if pooling == "cls":
                pooled.append(final[:, 0])
            elif pooling == "logits":
                pooled.append(self.model.forward_head(final))
            else:
                places = maps[stage]
                pooled.append(places.mean(-1) if pooling == "mean" else places.amax(-1))
        return torch.cat([row.float() for row in pooled], dim=-1)


def _timm_model(name: str, weights: str, image_size: int | None, classifier: bool, choice: str) -> Any:
    base = name.split(".")[0]
    if ":" not in name and not timm.is_model(base):
        close = get_close_matches(base, timm.list_models(), n=3) or ["timm.list_models() names all"]
        raise ValueError(f"{choice}: timm has no such model; it has {', '.join(close)}")
    # Only models whose size is fixed when they are made (transformers) take it as an option.
    cfg = timm.get_pretrained_cfg(name) if ":" not in name else None
    options: dict[str, Any] = {"img_size": image_size} if image_size and (cfg is None or cfg.fixed_input_size) else {}
    try:
        if weights in ("random", "timm"):
            options |= {} if classifier else {"num_classes": 0}
            return timm.create_model(name, pretrained=weights == "timm", **options)
        path = find_in_package(weights, "*.pth") if weights.startswith(PACKAGE) else Path(weights)
        if not path.is_file():
            raise FileNotFoundError(f"{choice}: there is no file {path}")
        state = read_weights(path)
        model: Any = timm.create_model(name, pretrained=False, **options)
        expected = model.state_dict()
        if not set(expected) & set(state):
            model.load_state_dict(_in_order(state, expected))
        else:
            # timm's own reader knows each architecture's older names and resizes position embeddings. It is strict only
            # if it expects the classifier that the file has, or none.
            weight = state.get(f"{model.pretrained_cfg['classifier']}.weight")
            classes: dict[str, Any] = {"num_classes": 0 if weight is None else len(weight)}
            overlay = {"state_dict": state, **classes}
            model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **classes, **options)
        if not classifier:
            model.reset_classifier(0)
        return model
    except (ImportError, FileNotFoundError):
        raise
    except Exception as error:  # the network, a damaged file, foreign tensors: one sentence for all
        reason = one_line(error)
        raise ValueError(f"{choice} cannot be loaded: {reason}") from error


def _in_order(state: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of `state` the names of `expected`, one after the other; all must agree in kind and shape."""
    if len(state) != len(expected):
        raise ValueError(f"the file holds {len(state)} tensors of other names, the model {len(expected)}")
    for (theirs, value), (name, like) in zip(state.items(), expected.items(), strict=True):
        if value.shape != like.shape or theirs.split(".")[-1] != name.split(".")[-1]:
            raise ValueError(
                f"the file's {theirs} {tuple(value.shape)} is where the model has {name} {tuple(like.shape)}"
            )
    return dict(zip(expected, state.values(), strict=True))


def _stage(feature: str, model: Any) -> tuple[str, int | None]:
    """Pooling and number of the stage, None for the final map: "mean@-1" is ("mean", the last stage's number)."""
    pooling, at, stage = feature.partition("@")
    places = ", ".join(IMAGE_POOLINGS)
    if pooling not in IMAGE_POOLINGS or (at and pooling in ("cls", "logits")):
        raise ValueError(f"image_tower.features: {feature!r} is none of {places}, mean@STAGE, max@STAGE")
    if pooling == "cls" and not getattr(model, "num_prefix_tokens", 0):
        raise ValueError("image_tower.features: this model has no class token; use mean or max")
    if pooling == "logits" and not model.num_classes:
        raise ValueError("image_tower.features: these weights have no classifier and no logits; use mean or max")
    if not at:
        return pooling, None
    if not hasattr(model, "forward_intermediates"):
        raise ValueError(f"image_tower.features: {feature!r}, but timm cannot give this model's stages")
    count = len(model.blocks) if getattr(model, "num_prefix_tokens", 0) else len(model.feature_info)
    try:
        number = range(count)[int(stage)]
    except (ValueError, IndexError):
        raise ValueError(f"image_tower.features: {feature!r}, but this model's stages are 0 to {count - 1}") from None
    return pooling, number


class TextTower(nn.Module):
    """A transformers model as a sentence encoder: texts -> (M, F), frozen.

    Args:
        model: a name on the Hugging Face hub, a local folder, or `package:NAME`, the folder with a model.safetensors
            inside that installed package.
        pooling: "mean" over all tokens, "cls" the first token, "last" the last one (of causal models).
        max_tokens: longer texts are cut there (`cut_texts` counts them); by default the model's own limit.
        sha256: the weights' hash, if other weights are to be refused.

    Attributes:
        description: the arguments, `sha256` among them, that load this tower again.
        dim: F.

    Raises:
        ValueError: an option is out of range, or the model cannot be loaded as requested; the sentence names it.
        ImportError: the package that holds the weights is not installed.
    """

    def __init__(self, model: str, pooling: str = "mean", max_tokens: int | None = None, sha256: str | None = None):
        super().__init__()
        choice = f"text_tower.model={model}"
        if pooling not in TEXT_POOLINGS:
            raise ValueError(f"text_tower.pooling={pooling!r} must be one of {', '.join(TEXT_POOLINGS)}")
        located = (
            find_in_package(model, "model.safetensors").parent
            if model.startswith(PACKAGE)
            else find_local_folder(model)
        )
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(located)
            self.model, info = AutoModel.from_pretrained(located, output_loading_info=True)
        except Exception as error:  # no network, a damaged folder, an unknown architecture: one sentence for all
            reason = one_line(error)
            raise ValueError(f"{choice} cannot be loaded: {reason}") from error
        missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
        if missing:
            raise ValueError(f"{choice} lacks {len(missing)} weights of its architecture, {missing[0]} among them")
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None  # not used, and of many sentence encoders not even trained
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.tokenizer.padding_side = "right"
        self.pooling = pooling
        limit = min(self.tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", 1 << 20))
        if max_tokens is not None and not 2 < max_tokens <= limit:
            raise ValueError(f"text_tower.max_tokens={max_tokens} must be from 3 to {limit}, {model}'s limit")
        self.max_tokens = max_tokens or limit
        self.float().eval().requires_grad_(False)
        digest = hash_weights(self.model)
        check_weights(choice, sha256, digest)
        self.description = {"model": model, "pooling": pooling, "max_tokens": max_tokens, "sha256": digest}
        self.dim: int = self.model.config.hidden_size

    def train(self, mode: bool = True) -> TextTower:
        """A frozen tower stays in evaluation mode: no dropout."""
        return super().train(False)

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, cut to `max_tokens`."""
        ids = self.tokenizer(texts, truncation=True, max_length=self.max_tokens)["input_ids"]
        empty = [text for text, tokens in zip(texts, ids, strict=True) if not tokens]
        if empty:
            raise ValueError(f"The text {empty[0]!r} has no tokens: remove or fill it")
        return ids

    def cut_texts(self, texts: Sequence[str]) -> int:
        """How many of the texts have more than `max_tokens` tokens."""
        ids = self.tokenizer(list(texts), verbose=False)["input_ids"] if texts else []
        return sum(len(tokens) > self.max_tokens for tokens in ids)

    def forward(self, ids: list[list[int]]) -> Tensor:
        """Token ids of B texts (from `tokenize`) -> (B, F)."""
        tokens = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self.model.device)
        states = self.model(**tokens).last_hidden_state.float()  # (B, T, F)
        mask = tokens["attention_mask"][..., None]  # (B, T, 1)
        if self.pooling == "cls":
            return states[:, 0]
        if self.pooling == "last":
            return states[torch.arange(len(states)), mask.sum(1)[:, 0] - 1]
        return (states * mask).sum(1) / mask.sum(1)
