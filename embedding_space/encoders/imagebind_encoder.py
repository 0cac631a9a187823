"""ImageBind through its own package: pictures, sounds or videos, and sentences, in one space."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from common.characters import one_line
from common.checks import checked_options
from embedding_space.encoders.base import Encoder
from embedding_space.encoders.weights import hash_weights
from embedding_space.media import NAMES, Medium

LICENSE = "its code and weights are CC BY-NC 4.0, for non-commercial use alone"
# The package's function that reads files of a medium, and its name of their tower (imagebind/data.py, ModalityType).
READERS: dict[Medium, tuple[str, str]] = {
    "image": ("load_and_transform_vision_data", "VISION"),
    "sound": ("load_and_transform_audio_data", "AUDIO"),
    "video": ("load_and_transform_video_data", "VISION"),
}


class LoadImageBind:
    """A file as ImageBind's own code reads it: of a sound three clips of two seconds, of a video five, in three crops.

    Args:
        medium: what the file is.
    """

    def __init__(self, medium: Medium):
        self.medium: Medium = medium

    def __call__(self, path: Path) -> Tensor:
        """A file -> (3, 224, 224) of a picture, (3, 1, 128, 204) of a sound, (15, 3, 2, 224, 224) of a video.

        Raises:
            ValueError: the file cannot be read.
            FileNotFoundError: there is no such file.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"There is no {self.medium} {path}")
        data = import_module("imagebind.data")
        try:
            return getattr(data, READERS[self.medium][0])([str(path)], "cpu")[0]
        except Exception as error:  # torchaudio, Pillow and decord fail in any way
            raise ValueError(f"{path} cannot be read as a {self.medium}: {one_line(error)}") from error


class ImageBindEncoder(Encoder):
    """`imagebind_huge` (Girdhar et al. 2023, arXiv 2305.05665), 1,024 dimensions.

    The mean over a file's clips is the package's own work. It leaves a logit scale on all rows but those of pictures
    and texts, whose norms differ so; here all are unit rows, as everywhere.

    Args:
        name: the encoder's short name; its stores' folder name.
        medium: what files it reads: "image", "sound" or "video".
        options: those of `Encoder`.

    Attributes:
        description: `name`, `kind`, `medium`, `model`, `precision`, and the weights' `sha256`.

    Raises:
        ValueError: there is no such medium, or the model cannot be loaded.
        ImportError: the package is not installed.
    """

    @checked_options("encoder.")
    def __init__(self, name: str, medium: Medium = "sound", model: str = "imagebind_huge", **options: Any):
        super().__init__(**options)
        if find_spec("imagebind") is None:
            raise ImportError(
                "imagebind is not installed: pip install git+https://github.com/facebookresearch/ImageBind; "
                f"{LICENSE}. encoder=clap reads sounds without it"
            )
        self.medium = medium
        self._data: Any = import_module("imagebind.data")
        library: Any = import_module("imagebind.models.imagebind_model")
        make = getattr(library, model, None)
        if not callable(make):
            raise ValueError(f"encoder.model={model} is no model of the package imagebind: imagebind_huge is")
        try:
            self.model: Any = make(pretrained=True)
        except Exception as error:  # no network, a damaged file: one sentence for all
            raise ValueError(f"encoder.model={model} cannot be loaded: {one_line(error)}") from error
        self.model.float().to(self.device).eval().requires_grad_(False)
        self._tower: str = getattr(library.ModalityType, READERS[medium][1])
        self._text_tower: str = library.ModalityType.TEXT
        self.description = {
            "name": name,
            "kind": "imagebind",
            "medium": medium,
            "model": model,
            "precision": self.precision,
            "sha256": hash_weights(self.model),
        }
        self.dims = dict.fromkeys(("images", "texts"), self._run(self.text_features, ["a"]).shape[-1])

    @property
    def load(self) -> Callable[[Path], Tensor]:
        return LoadImageBind(self.medium)

    def image_features(self, pictures: Tensor) -> Tensor:
        """B items of `LoadImageBind` -> (B, D)."""
        return self.model({self._tower: pictures})[self._tower]

    def text_features(self, sentences: list[str]) -> Tensor:
        tokens = self._data.load_and_transform_text(sentences, self.device)  # (B, 77): it cuts longer ones
        return self.model({self._text_tower: tokens})[self._text_tower]

    def _no_patches(self) -> ValueError:
        return ValueError(f"ImageBind's rows of {NAMES[self.medium]} have no patch tokens here: set patches=false")
