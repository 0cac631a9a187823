"""Load a captioner of any kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from image_captioning.captioner import Captioner
from image_captioning.captioning_model import CaptioningModel, find_checkpoint
from pcm_net.captioner import KIND, PCMNet


def load_captioner(checkpoint: str | Path, **download: Any) -> CaptioningModel:
    """A prefix captioner or a PCM-Net, as its `config.json` says; arguments and errors as of `CaptioningModel.load`."""
    folder = find_checkpoint(checkpoint, **download)
    try:
        kind = json.loads((folder / "config.json").read_text()).get("kind")
    except (OSError, ValueError, AttributeError):  # loading it will say what is wrong
        kind = None
    return (PCMNet if kind == KIND else Captioner).load(folder)
