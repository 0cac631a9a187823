"""FID's Inception: the network that makes of a Fréchet distance an FID, and of a kernel distance a KID."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from common.characters import one_line
from common.device import announce, best_device
from common.extras import require
from common.files import file_sha256
from embedding_space.encoders.weight_files import read_weights

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
DOWNLOAD = "download"
_HOW_TO_GET_INCEPTION = (
    f"get {INCEPTION_FILE} from torch-fidelity's release v0.2.0 on GitHub and give fid.weights=FILE; where there is a "
    f"network, fid.weights={DOWNLOAD} does both"
)


class InceptionFeatures:
    """FID's Inception v3 with the weights of the TensorFlow original, by torch-fidelity: (B, 2048) pooled features.

    Args:
        weights: torch-fidelity's file `weights-inception-2015-12-05-6726825d.pth`; `download` fetches it (91 MB) to
            torch's cache; None takes what the cache has.
        workers: processes that decode pictures.

    Raises:
        ImportError: torch-fidelity is not installed.
        FileNotFoundError: there is no such file, or none could be fetched.
        ValueError: the file holds other weights.
    """

    name, dim = "Inception v3", 2048

    def __init__(self, weights: str | Path | None = None, batch_size: int = 64, workers: int = 0):
        require("torch_fidelity")
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        path, self.batch_size, self.workers = _inception_file(weights), batch_size, workers
        try:
            if path.exists():  # the library reads pickles of any kind: this one must hold weights alone
                read_weights(path)
            network = FeatureExtractorInceptionV3("inception", ["2048"], str(path) if path.exists() else None)
        except OSError as error:
            raise FileNotFoundError(
                f"Inception's weights cannot be fetched ({one_line(error)}): {_HOW_TO_GET_INCEPTION}"
            ) from error
        except Exception as error:  # a damaged or foreign file fails in many ways
            raise ValueError(
                f"fid.weights={path} does not hold FID's Inception ({one_line(error)}): {_HOW_TO_GET_INCEPTION}"
            ) from error
        self._device = best_device()
        self._network = network.to(self._device)
        self.description = {"name": self.name, "features": "2048", "sha256": file_sha256(path)}

    @property
    def preprocess(self) -> Callable[[Image.Image], Tensor]:
        return pil_to_tensor

    @torch.inference_mode()
    def features(self, pictures: Tensor) -> Tensor:
        announce("Inception", self._device, "fp32")
        return self._network(pictures.to(self._device))[0].float().cpu()


def _inception_file(weights: str | Path | None) -> Path:
    """The file of the weights; it may not be there yet if they are to be downloaded."""
    cached = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    path = cached if weights in (None, DOWNLOAD) else Path(str(weights))
    if path.is_file() or weights == DOWNLOAD:
        return path
    if weights is None:
        raise FileNotFoundError(f"Inception's weights are not in torch's cache: {_HOW_TO_GET_INCEPTION}")
    raise FileNotFoundError(f"There is no file fid.weights={path}: {_HOW_TO_GET_INCEPTION}")
