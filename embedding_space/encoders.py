"""Encoders of pictures and sentences. Any open_clip model: by name and weights, or a `local-dir:` folder."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

ROOT = Path(__file__).resolve().parents[1]
LOCAL = "local-dir:"
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class OpenClipEncoder:
    """Both towers of an open_clip model.

    Args:
        name: the encoder's short name; its stores' folder name.
        model: an open_clip model name, or `local-dir:FOLDER` (relative to the working folder, else to the repository).
        pretrained: open_clip's tag of the weights, or a checkpoint file; null for a `local-dir:`.
        batch_size: pictures or sentences a forward pass.
        precision: autocast to fp32 (none), bf16 or fp16.
        workers: processes that decode pictures.
        device: by default CUDA where there is one.
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
        self.model, _, self.preprocess = open_clip.create_model_and_transforms(
            located, pretrained=pretrained, device=self.device
        )
        self.model.eval().requires_grad_(False)
        self.tokenizer = open_clip.get_tokenizer(located)
        self.batch_size, self.precision, self.workers = batch_size, precision, workers
        self.description = {"name": name, "model": model, "pretrained": pretrained}
        if located.startswith(LOCAL):
            # A folder's weights can change under the same name: a store must notice.
            weights = Path(located.removeprefix(LOCAL)) / "open_clip_model.safetensors"
            self.description["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
        self.dim: int = self.encode_texts(["a"]).shape[-1]

    @torch.inference_mode()
    def encode_images(self, paths: list[Path]) -> Tensor:
        """Image files -> (N, D) float32 unit rows on the CPU. Raises ValueError for a file that is no picture."""
        loader = DataLoader(
            _Pictures(paths, self.preprocess), batch_size=self.batch_size, num_workers=self.workers, pin_memory=False
        )
        return self._collect(self.model.encode_image, loader)

    @torch.inference_mode()
    def encode_texts(self, texts: list[str]) -> Tensor:
        """Sentences -> (M, D) float32 unit rows on the CPU."""
        starts = range(0, len(texts), self.batch_size)
        return self._collect(
            self.model.encode_text, (self.tokenizer(texts[start : start + self.batch_size]) for start in starts)
        )

    def _collect(self, encode, batches) -> Tensor:
        dtype = PRECISIONS[self.precision]
        context = torch.autocast(self.device.type, dtype) if dtype else nullcontext()
        with context:
            rows = [encode(batch.to(self.device, non_blocking=True)).float().cpu() for batch in batches]
        return F.normalize(torch.cat(rows), dim=-1)


def _locate(model: str) -> str:
    if not model.startswith(LOCAL):
        return model
    folder = Path(model.removeprefix(LOCAL))
    if not folder.is_dir() and (ROOT / folder).is_dir():
        folder = ROOT / folder
    if not (folder / "open_clip_model.safetensors").exists():
        raise FileNotFoundError(f"No open_clip model in {folder} (option encoder.model={model})")
    return f"{LOCAL}{folder}"


class _Pictures(Dataset):
    def __init__(self, paths: list[Path], preprocess):
        self.paths, self.preprocess = paths, preprocess

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return self.preprocess(open_picture(self.paths[index]))


def open_picture(path: Path) -> Image.Image:
    """A picture file, whole, as RGB. Raises ValueError when it is none, FileNotFoundError when it is not there."""
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except FileNotFoundError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as a picture: {error}") from error
