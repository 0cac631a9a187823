"""Stores with patch tokens: what they hold beside the image rows, what the grid's options change, older stores."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from common.hints import with_hint
from embedding_space.encoders.base import Encoder
from embedding_space.errors import MissingPatches, MissingPatchFeatures
from embedding_space.store import EmbeddingStore
from embedding_space.tables import write_tables
from embedding_space.write_store import write_store


class QuarterEncoder(Encoder):
    """An image is the mean of its four quarters' colors, a patch one quarter's, scaled; the head doubles a color."""

    def __init__(self, scale: float = 1.0, **options: int):
        super().__init__(batch_size=2, device="cpu", **options)
        self.dims, self.scale = {"images": 6, "texts": 6}, scale
        self.description = {"name": "quarters"}

    @staticmethod
    def preprocess(picture):
        return torch.from_numpy(np.array(picture.resize((2, 2), Image.Resampling.BOX))).permute(2, 0, 1).float() + 1

    def image_features(self, pictures):
        return self.patch_head(pictures.mean((2, 3)))

    def grid_features(self, pictures):
        return self.image_features(pictures), self.scale * pictures

    def patch_head(self, features):
        return torch.cat([features, 2 * features], dim=-1)

    def text_features(self, sentences):
        return torch.ones(len(sentences), 6)


@pytest.fixture
def root(tmp_path):
    """A data set of five training pictures."""
    images = []
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        images.append({"image_id": str(number), "path": f"{number}.png", "split": "train"})
    write_tables(tmp_path, images, [{"caption_id": "a", "image_row": None, "caption": "a", "split": "train"}])
    return tmp_path


def test_a_store_keeps_the_features_and_what_the_head_makes_of_them(root):
    store = write_store(root, encoder := QuarterEncoder(), "quarters", patches=True)
    assert (store.manifest.patches, store.manifest.patch_width) == ((4, 6), 3)
    features = store.patch_features("train")
    assert features.shape == (5, 4, 3) and store.patches("train").shape == (5, 4, 6)
    colors = encoder.preprocess(Image.open(root / "3.png")).flatten(1).T
    assert torch.equal(features[3], colors)  # whole numbers below 2,048
    made = F.normalize(encoder.patch_head(features[:]), dim=-1)
    assert torch.allclose(store.patches("train")[:], made, atol=1e-3)
    without = write_store(root, QuarterEncoder(), "without")
    assert "patch_width" not in without.manifest.to_json()
    for read in (without.patches, without.patch_features):
        with pytest.raises(MissingPatches):
            read("train")


def test_a_store_from_before_features_were_kept_still_gives_its_patches(root):
    store = write_store(root, QuarterEncoder(), "quarters", patches=True)
    manifest = store.manifest.to_json()
    del manifest["patch_width"]
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    (store.path / "patch_features.npy").unlink()
    old = EmbeddingStore(store.path)
    assert torch.equal(old.patches("train")[:], store.patches("train")[:])
    with pytest.raises(MissingPatchFeatures, match=r"has patch tokens without their features$") as caught:
        old.patch_features("train")
    assert re.search(r": delete .*quarters and run .* patches=true", with_hint(caught.value))
    with pytest.raises(ValueError, match="patch_width is None there, 3 now"):
        write_store(root, QuarterEncoder(), "quarters", patches=True)


def test_the_grids_options_are_kept_with_patches_alone_and_leave_image_rows_as_they_are(root):
    plain = write_store(root, QuarterEncoder(), "plain")
    pooled = write_store(root, QuarterEncoder(patch_pool=2), "pooled", patches=True)
    assert plain.manifest.encoder == {"name": "quarters"}
    assert pooled.manifest.encoder == {"name": "quarters", "patch_pool": 2}
    for name in ("images.npy", "texts.npy", "statistics.safetensors"):
        assert (pooled.path / name).read_bytes() == (plain.path / name).read_bytes()
    assert torch.allclose(pooled.patches("train")[:][:, 0], plain.images("train"), atol=1e-3)
    for encoder in (QuarterEncoder(), QuarterEncoder(patch_pool=2), QuarterEncoder(patch_upsample=3)):
        assert write_store(root, encoder, "pooled").hash == pooled.hash  # without patches the options are nothing
    with pytest.raises(ValueError, match=r"\(encoder is .*'patch_pool': 2.* there, .*'patch_upsample'"):
        write_store(root, QuarterEncoder(patch_upsample=3), "pooled", patches=True)
    with pytest.raises(ValueError, match="patches is None there"):
        write_store(root, QuarterEncoder(patch_pool=2), "plain", patches=True)


def test_features_beyond_float16_are_refused(root):
    with pytest.raises(ValueError, match=r"Patch features of the encoder quarters reach \d+,000, and float16"):
        write_store(root, QuarterEncoder(scale=1000), "quarters", patches=True)
