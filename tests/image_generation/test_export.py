"""scripts/export.py of a generator: half the size, the same pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from alignment.chain import Alignment
from common.files import write_json
from image_captioning.alignments import STEPS
from image_generation.export import is_generator
from image_generation.flow import Sampling
from image_generation.generator import ImageGenerator
from scripts.export import run

NETWORK = {"channels": [16, 32], "attention": [False, False], "layers": 1, "head_channels": 16, "patch": 2}
MEMORY = [{"step": "Normalize"}, {"step": "TextMemory", "temperature": 0.1, "memory_rows": None}, {"step": "Normalize"}]


@pytest.fixture
def config(picture_store, compose, tmp_path):
    """Compose an export of a generator behind a memory of images."""
    store = type(picture_store)(picture_store.path, training_modality="images")
    chain = Alignment.from_store(MEMORY, STEPS, store)
    torch.manual_seed(0)
    model = ImageGenerator(16, 16, NETWORK, chain.options(), store.manifest.encoder, provenance={"uses_pairs": False})
    model.alignment = chain
    model.save_pretrained(tmp_path / "run")
    return lambda *more: compose("export", f"checkpoint={tmp_path / 'run'}", f"to={tmp_path / 'shared'}", *more)


def test_an_export_is_half_as_large_and_draws_the_same(config, picture_store, tmp_path):
    run(config())
    before, after = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("run", "shared"))
    assert after < 0.62 * before and is_generator(tmp_path / "shared")
    texts = picture_store.texts("val")[:3]
    drawn = []
    for name in ("run", "shared"):
        model = ImageGenerator.load(tmp_path / name)
        drawn.append(model.generate(model.align(texts), range(3), Sampling(2), "fp32").numpy().astype(int))
    assert np.abs(drawn[0] - drawn[1]).max() <= 2
    manifest = json.loads((tmp_path / "shared/manifest.json").read_text())
    assert manifest["provenance"] == {"uses_pairs": False} and manifest["scores"] is None


def test_what_does_not_belong_to_it_is_refused(config, tmp_path):
    with pytest.raises(ValueError, match=r"image_side\.temperature is of captioners"):
        run(config("image_side.temperature=0.1"))
    with pytest.raises(FileNotFoundError, match=r"No scores\.json in evaluation=.*eval_generation\.py"):
        run(config(f"evaluation={tmp_path / 'none'}"))
    protocol = {
        "folder": "f", "pictures": 1, "sentences": 1, "pictures_per_sentence": [1, 1], "sentences_from": "images.json",
        "sentences_hash": "", "picture_size": 16, "reference": {"pictures": 1, "hash": ""}, "encoder": {"name": "x"},
    }  # fmt: skip
    scores = {"metrics": {}, "protocol": protocol, "generation": {"generator": "another"}}
    write_json(tmp_path / "other" / "scores.json", scores)
    with pytest.raises(ValueError, match="is not of the generator in checkpoint="):
        run(config(f"evaluation={tmp_path / 'other'}"))
    assert not (tmp_path / "shared").exists()
    run(config())
    with pytest.raises(ValueError, match=r"holds model\.safetensors already"):
        run(config())
