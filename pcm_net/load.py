"""Load a captioner of any kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from common.files import file_sha256
from image_captioning.captioner import Captioner
from image_captioning.captioning_model import CaptioningModel
from image_captioning.checkpoints import find_checkpoint
from image_captioning.make_concepts import concepts_of_file
from pcm_net.captioner import KIND, PCMNet


def load_captioner(checkpoint: str | Path, concepts: str | None = None, **download: Any) -> CaptioningModel:
    """A prefix captioner or a PCM-Net, as its `config.json` says; else as `CaptioningModel.load`.

    Args:
        concepts: a file of other concepts for a PCM-Net than those that it was trained with.

    Raises:
        ValueError: the file is refused, or the captioner is no PCM-Net; and as `CaptioningModel.load`.
    """
    folder = find_checkpoint(checkpoint, **download)
    try:
        kind = json.loads((folder / "config.json").read_text()).get("kind")
    except (OSError, ValueError, AttributeError):  # loading it will say what is wrong
        kind = None
    captioner = (PCMNet if kind == KIND else Captioner).load(folder)
    if concepts is None:
        return captioner
    if not isinstance(captioner, PCMNet):
        raise ValueError(f"concepts={concepts} is for a PCM-Net, and {checkpoint} is none: leave it out")
    others = concepts_of_file(concepts, captioner.dim, captioner.encoder_description)
    captioner.use_concepts(others, file_sha256(concepts))
    return captioner
