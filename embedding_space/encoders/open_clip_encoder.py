"""Any open_clip model as an encoder: by name and weights (a tag or a checkpoint file), or a `local-dir:` folder."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeGuard

import open_clip
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.tokenizer import basic_clean, canonicalize_text
from open_clip.transformer import VisionTransformer
from PIL import Image
from torch import Tensor

from common.characters import one_line
from common.extras import require
from common.files import file_sha256
from common.paths import find_local_folder
from embedding_space.encoders.base import Encoder
from embedding_space.encoders.identity import LOCAL_DIR
from embedding_space.encoders.quick_gelu import OPENAI_KEYS, check_activation, check_folder, is_torchscript
from embedding_space.encoders.weight_files import read_weights
from embedding_space.mel import model_mel

BIG_VISION = (".npz", ".npy")  # SigLIP's own files, which open_clip converts
PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")  # of a tag, in open_clip's words


class OpenClipEncoder(Encoder):
    """Both towers of an open_clip model.

    Args:
        name: the encoder's short name; its stores' folder name.
        model: an open_clip model name, or `local-dir:FOLDER` (relative to the working folder, else to the repository).
        pretrained: open_clip's tag of the weights, or a checkpoint file (see `read_weights`, or OpenAI's
            TorchScript archive), whose pictures are preprocessed as those of the model's tags; null for a `local-dir:`
            or `hf-hub:` model, which has its own; "random" for untrained weights, which only tests want.
        sound: where the image tower reads sounds as spectrograms: the options of `LogMel`. A folder whose model was
            trained so says it itself (`embedding_space.mel.MEL_FILE`).
        options: those of `Encoder`.

    Attributes:
        description: `name`, `model`, `pretrained` and, of local weights, `sha256`; also `precision`, which changes the
            rows a little but not their space, and `sound`, of a model of sounds.

    Raises:
        ValueError: the model or its weights cannot be loaded as requested.
        FileNotFoundError: a local folder holds no model.
    """

    def __init__(
        self,
        name: str,
        model: str,
        pretrained: str | None = None,
        sound: Mapping[str, Any] | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        located = _locate(model)
        _check_weights(located, pretrained)
        folder = Path(located.removeprefix(LOCAL_DIR)) if located.startswith(LOCAL_DIR) else None
        self.mel = model_mel(folder, sound, f"encoder.model={model}")
        try:
            self.model, self._transform = _load(located, pretrained)
            self.tokenizer: Any = open_clip.get_tokenizer(located)
        except Exception as error:  # open_clip raises RuntimeError; a damaged file makes torch.load raise anything
            tag = ":" not in model and open_clip.get_pretrained_cfg(model, pretrained or "")
            hint = " Where there is no network, give the weights as a file: encoder.pretrained=FILE" if tag else ""
            reason = one_line(error)
            raise ValueError(
                f"encoder.model={model} encoder.pretrained={pretrained} cannot be loaded: {reason}{hint}"
            ) from error
        self.model.to(self.device).eval().requires_grad_(False)
        self.description = {"name": name, "model": model, "pretrained": pretrained, "precision": self.precision}
        if self.mel is not None:
            require("av")
            self.medium = "sound"
            self.description["sound"] = self.mel.to_json()
        weights = folder / "open_clip_model.safetensors" if folder else Path(pretrained or "")
        if weights.is_file():
            self.description["sha256"] = file_sha256(weights)
        self.dims = dict.fromkeys(("images", "texts"), self._run(self.text_features, ["a"]).shape[-1])

    @property
    def preprocess(self) -> Callable[[Image.Image], Tensor]:
        return self._transform if self.mel is None else super().preprocess

    @property
    def load(self) -> Callable[[Path], Tensor]:
        return super().load if self.mel is None else self.mel

    def image_features(self, pictures: Tensor) -> Tensor:
        return self.model.encode_image(pictures)

    def text_features(self, sentences: list[str]) -> Tensor:
        return self.model.encode_text(self.tokenizer(sentences).to(self.device))

    def cut_texts(self, texts: Sequence[str]) -> int:
        limit = self.tokenizer.context_length
        # A token stands for at least one byte: most captions need not be tokenized again.
        doubtful = [text for text in texts if len(text) > limit - 2 or not text.isascii() or "&" in text]
        return sum(count > limit for count in _token_counts(self.tokenizer, doubtful))

    def unknown_words(self, text: str) -> list[str]:
        words: Any = getattr(self.tokenizer, "tokenizer", None)  # one of transformers; open_clip's own knows all bytes
        if getattr(words, "unk_token_id", None) is None or not getattr(words, "is_fast", False):
            return []
        tokens = words(text, return_offsets_mapping=True, truncation=True, max_length=self.tokenizer.context_length)
        spans = zip(tokens["input_ids"], tokens["offset_mapping"], strict=True)
        return [text[start:end] for token, (start, end) in spans if token == words.unk_token_id]

    def grid_features(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Image features, and the tower's last map: a ViT's patch tokens after its last block, before the last norm; of
        CLIP's ResNets and timm's convolutional towers the feature map before pooling."""
        tower = self.model.visual
        if _is_vit(tower) or isinstance(tower, ModifiedResNet):
            outputs: dict[str, Any] = tower.forward_intermediates(pictures, indices=1)
            return outputs["image_features"], outputs["image_intermediates"][0]
        if isinstance(tower, TimmModel):
            trunk: Any = tower.trunk
            grid = trunk.forward_features(pictures)
            if grid.ndim == 4 and grid.shape[1] == trunk.num_features:  # (B, W, h, w)
                return tower.head(trunk.forward_head(grid)), grid
        raise self._no_patches()

    def patch_head(self, features: Tensor) -> Tensor:
        """Features of places through the head of the image feature.

        That is

        - of a ViT the class token's own final norm and projection, as PCM-Net takes them;
        - of CLIP's ResNets the attention pool's value and output projections, that is with every place attending to
          itself alone (MaskCLIP, arXiv 2112.01071, section 3.1);
        - of timm's convolutional towers pooling and head, place by place; with average pooling and a linear head their
          mean is the image feature.
        """
        tower = self.model.visual
        if _is_vit(tower):
            return tower.ln_post(features) @ tower.proj
        if isinstance(tower, ModifiedResNet):
            return tower.attnpool.c_proj(tower.attnpool.v_proj(features))
        if isinstance(tower, TimmModel):
            trunk: Any = tower.trunk
            rows = tower.head(trunk.forward_head(features.flatten(0, 1)[..., None, None]))  # of maps (B * P, W, 1, 1)
            return rows.unflatten(0, features.shape[:2])
        raise self._no_patches()

    def _no_patches(self) -> ValueError:
        if self.mel is not None:
            return super()._no_patches()
        tower = self.model.visual
        return ValueError(
            f"encoder.model={self.description['model']} has an image tower whose grid does not lie in the joint space "
            f"({type(tower).__name__}): set patches=false"
        )


def _is_vit(tower: Any) -> TypeGuard[VisionTransformer]:
    """Whether the class token's norm and projection may be applied to a patch token."""
    return isinstance(tower, VisionTransformer) and tower.attn_pool is None and tower.proj is not None


def _token_counts(tokenizer: Any, texts: list[str]) -> list[int]:
    """How many tokens each text has, first and last ones included, without open_clip's limit."""
    if not texts:
        return []
    if not hasattr(tokenizer, "tokenizer"):  # open_clip's own; others wrap one of transformers
        return [len(tokenizer.encode(text)) + 2 for text in texts]
    clean = getattr(tokenizer, "clean_fn", lambda text: canonicalize_text(basic_clean(text)))
    parts = getattr(tokenizer, "tokenizer_mode", "") == "clips"  # whose three special tokens it puts itself
    ids = tokenizer.tokenizer(
        [clean(text) for text in texts], add_special_tokens=not parts, truncation=False, verbose=False
    )["input_ids"]
    return [len(row) + 3 * parts for row in ids]


def _load(model: str, pretrained: str | None) -> tuple[Any, Any]:
    """The model and the transform of its pictures. Random weights are the same every time."""
    if ":" in model:
        loaded, _, transform = open_clip.create_model_and_transforms(model, require_pretrained=True)
        return loaded, transform
    random = pretrained == "random"
    how = {} if open_clip.get_pretrained_cfg(model, pretrained or "") else _preprocessing(model)
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        loaded, _, transform = open_clip.create_model_and_transforms(
            model,
            pretrained=None if random or pretrained is None else _weights_alone(pretrained, folder),
            load_weights=not random,
            require_pretrained=not random,
            **{f"image_{key}": value for key, value in how.items()},
        )
    return loaded, transform


def _weights_alone(pretrained: str, folder: str) -> str:
    """The tag or file; of a file that open_clip does not read (an archive of code and weights, weights that training
    code wrapped), a file of its weights in `folder`."""
    if not Path(pretrained).is_file() or Path(pretrained).suffix in BIG_VISION:
        return pretrained
    file = f"{folder}/weights.pt"
    if not is_torchscript(pretrained):
        torch.save(read_weights(pretrained), file)
        return file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch would have nobody write such archives any more
        state = torch.jit.load(pretrained, map_location="cpu").state_dict()
    torch.save({key: value.float() for key, value in state.items() if key not in OPENAI_KEYS}, file)
    return file


def _preprocessing(model: str) -> dict[str, Any]:
    """How the model's tags preprocess pictures, where they agree: a checkpoint file does not say."""
    tags = open_clip.list_pretrained_tags_by_model(model.replace("/", "-"))
    ways = [open_clip.get_pretrained_cfg(model, tag) for tag in tags]
    ways = [{key: way[key] for key in PREPROCESSING if key in way} for way in ways]
    return ways[0] if ways and all(way == ways[0] for way in ways) else {}


def _locate(model: str) -> str:
    if not model.startswith(LOCAL_DIR):
        return model
    folder = find_local_folder(model.removeprefix(LOCAL_DIR))
    if not (folder / "open_clip_model.safetensors").exists():
        raise FileNotFoundError(f"No open_clip model in {folder} (option encoder.model={model})")
    check_folder(folder, f"encoder.model={model}")
    return f"{LOCAL_DIR}{folder}"


def _check_weights(model: str, pretrained: str | None) -> None:
    """Refuse what open_clip would answer with a warning and other weights than were requested."""
    choice = f"encoder.model={model} encoder.pretrained={pretrained}"
    if ":" in model:
        if pretrained is not None:
            raise ValueError(f"{choice}: this model has its own weights; set encoder.pretrained=null")
        return
    name = model.replace("/", "-")  # open_clip reads ViT-B/32 so
    if name not in open_clip.list_models():
        close = get_close_matches(name, open_clip.list_models(), n=3) or open_clip.list_models()
        raise ValueError(f"{choice}: open_clip has no such model; it has {', '.join(close)}")
    if pretrained is None:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise ValueError(f"{choice} would give random weights: name some (open_clip has {tags}, or a checkpoint file)")
    check_activation(name, pretrained, choice)
