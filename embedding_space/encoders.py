"""Encoders of pictures and sentences. Any open_clip model: by name and weights, or a `local-dir:` folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from difflib import get_close_matches
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from embedding_space.pictures import open_picture

ROOT = Path(__file__).resolve().parents[1]
LOCAL = "local-dir:"
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class OpenClipEncoder:
    """Both towers of an open_clip model.

    Args:
        name: the encoder's short name; its stores' folder name.
        model: an open_clip model name, or `local-dir:FOLDER` (relative to the working folder, else to the repository).
        pretrained: open_clip's tag of the weights, or a checkpoint file; null for a `local-dir:` or `hf-hub:` model,
            which has its own; "random" for untrained weights, which only tests want.
        batch_size: pictures or sentences a forward pass.
        precision: autocast to fp32 (none), bf16 or fp16.
        workers: processes that decode pictures.
        device: by default CUDA where there is one.

    Attributes:
        description: `name`, `model`, `pretrained` and, of a local folder's weights, `sha256`; also `precision`, which
            changes the rows a little but not the space that they lie in.

    Raises ValueError or FileNotFoundError when the model or its weights cannot be loaded as asked.
    """

    def __init__(
        self,
        name: str,
        model: str,
        pretrained: str | None = None,
        batch_size: int = 256,
        precision: str = "fp32",
        workers: int = 0,
        device: str | None = None,
    ):
        if precision not in PRECISIONS:
            raise ValueError(
                f"precision={precision!r} (option encoder.precision) must be one of {', '.join(PRECISIONS)}"
            )
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        located = _locate(model)
        _check_weights(located, pretrained)
        random = pretrained == "random"
        try:
            self.model, _, self.preprocess = open_clip.create_model_and_transforms(
                located,
                pretrained=None if random else pretrained,
                load_weights=not random,
                require_pretrained=not random,
                device=self.device,
            )
            self.tokenizer = open_clip.get_tokenizer(located)
        except Exception as error:  # open_clip raises RuntimeError; a damaged file makes torch.load raise anything
            raise ValueError(
                f"encoder.model={model} encoder.pretrained={pretrained} cannot be loaded: {error}"
            ) from error
        self.model.eval().requires_grad_(False)
        self.batch_size, self.precision, self.workers = batch_size, precision, workers
        self.description = {"name": name, "model": model, "pretrained": pretrained, "precision": precision}
        if located.startswith(LOCAL):
            # A folder's weights can change under the same name: a store must notice.
            weights = Path(located.removeprefix(LOCAL)) / "open_clip_model.safetensors"
            self.description["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
        self.dim: int = self.encode_texts(["a"]).shape[-1]

    def encode_images(self, paths: list[Path]) -> Tensor:
        """Image files -> (N, D) float32 unit rows on the CPU. Raises ValueError for a file that is no picture."""
        rows, _, unreadable = self.encode_readable_images(paths)
        if unreadable:
            raise ValueError(f"{len(unreadable)} of {len(paths)} pictures cannot be read; the first: {unreadable[0]}")
        return rows

    @torch.inference_mode()
    def encode_readable_images(self, paths: list[Path], progress: bool = False) -> tuple[Tensor, list[int], list[str]]:
        """Image files -> (K, D) float32 unit rows, the K positions in `paths` they stand for, and for each other file
        why it could not be read."""
        loader = DataLoader(
            _Pictures(paths, self.preprocess), self.batch_size, num_workers=self.workers, collate_fn=_readable
        )
        rows, kept, unreadable = [torch.empty(0, self.dim)], [], []
        with tqdm(total=len(paths), desc="encode images", unit="image", disable=not progress) as bar:
            for pictures, positions, reasons in loader:
                if positions:
                    rows.append(self._encode(self.model.encode_image, pictures))
                kept += positions
                unreadable += reasons
                bar.update(len(positions) + len(reasons))
        return torch.cat(rows), kept, unreadable

    @torch.inference_mode()
    def encode_texts(self, texts: list[str]) -> Tensor:
        """Sentences -> (M, D) float32 unit rows on the CPU."""
        parts = [texts[start : start + self.batch_size] for start in range(0, len(texts), self.batch_size)]
        return torch.cat([self._encode(self.model.encode_text, self.tokenizer(part)) for part in parts])

    def _encode(self, encode: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        dtype = PRECISIONS[self.precision]
        context = torch.autocast(self.device.type, dtype) if dtype else nullcontext()
        with context:
            rows = encode(batch.to(self.device, non_blocking=True))
        return F.normalize(rows.float(), dim=-1).cpu()


def _locate(model: str) -> str:
    if not model.startswith(LOCAL):
        return model
    folder = Path(model.removeprefix(LOCAL))
    if not folder.is_dir() and (ROOT / folder).is_dir():
        folder = ROOT / folder
    if not (folder / "open_clip_model.safetensors").exists():
        raise FileNotFoundError(f"No open_clip model in {folder} (option encoder.model={model})")
    return f"{LOCAL}{folder}"


def _check_weights(model: str, pretrained: str | None) -> None:
    """Refuse what open_clip would answer with a warning and other weights than were asked for."""
    given = f"encoder.model={model} encoder.pretrained={pretrained}"
    if ":" in model:
        if pretrained is not None:
            raise ValueError(f"{given}: this model has its own weights; set encoder.pretrained=null")
        return
    name = model.replace("/", "-")  # open_clip reads ViT-B/32 so
    if name not in open_clip.list_models():
        close = get_close_matches(name, open_clip.list_models(), n=3) or open_clip.list_models()
        raise ValueError(f"{given}: open_clip has no such model; it has {', '.join(close)}")
    if pretrained is None:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise ValueError(f"{given} would give random weights: name some (open_clip has {tags}, or a checkpoint file)")
    quick = f"{name}-quickgelu"
    weights = open_clip.get_pretrained_cfg(name, pretrained)
    if weights.get("quick_gelu") and quick in open_clip.list_models():
        raise ValueError(f"{given}: these weights were trained with QuickGELU; set encoder.model={quick}")


class _Pictures(Dataset):
    def __init__(self, paths: list[Path], preprocess):
        self.paths, self.preprocess = paths, preprocess

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[int, Tensor | None, str]:
        try:
            return index, self.preprocess(open_picture(self.paths[index])), ""
        except (ValueError, FileNotFoundError) as error:
            return index, None, str(error)


def _readable(items: list[tuple[int, Tensor | None, str]]) -> tuple[Tensor | None, list[int], list[str]]:
    """Collate what could be read: (K, 3, H, W) or None, their positions, and the others' reasons."""
    pictures = [picture for _, picture, _ in items if picture is not None]
    positions = [index for index, picture, _ in items if picture is not None]
    reasons = [reason for _, picture, reason in items if picture is None]
    return torch.stack(pictures) if pictures else None, positions, reasons
