"""Features of picture files: as the tower gives them, in order, of squares of one size."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from evaluation.pictures.errors import UnreadablePictures
from evaluation.pictures.features import EncoderFeatures, feature_batches
from evaluation.pictures.inception import InceptionFeatures


def test_they_are_the_towers_own_in_order(write_pictures, color_encoder):
    folder = write_pictures("made", ["red", "green", "blue", "red"], sentences=False)
    batches = list(feature_batches(EncoderFeatures(color_encoder()), sorted(folder.iterdir()), 16, "generated"))
    assert [len(batch) for batch in batches] == [3, 1]
    expected = torch.tensor([[250, 10, 10], [9, 249, 9], [8, 8, 248], [247, 7, 7]]).float()
    torch.testing.assert_close(torch.cat(batches), expected)


def test_what_is_outside_the_largest_square_in_the_center_is_not_seen(tmp_path, color_encoder):
    picture = Image.new("RGB", (30, 10), "red")
    picture.paste((0, 0, 255), (10, 0, 20, 10))
    picture.save(tmp_path / "wide.png")
    [batch] = feature_batches(EncoderFeatures(color_encoder()), [tmp_path / "wide.png"], 8, "reference")
    torch.testing.assert_close(batch, torch.tensor([[0.0, 0.0, 255.0]]), atol=3, rtol=0)


def test_all_unreadable_pictures_are_counted(write_pictures, color_encoder):
    paths = sorted(write_pictures("real", ["red", "green", "blue", "red"], sentences=False).iterdir())
    for path in (paths[1], paths[3]):
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UnreadablePictures, match=r"2 of 4 reference pictures cannot be read; the first: .*001\.png"):
        list(feature_batches(EncoderFeatures(color_encoder()), paths, 16, "reference"))


def test_inception_comes_from_a_file_of_weights_or_not_at_all(tmp_path, monkeypatch):
    pytest.importorskip("torch_fidelity")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"not in torch's cache: get weights-inception.*fid\.weights=download"):
        InceptionFeatures()
    with pytest.raises(FileNotFoundError, match=r"no file fid\.weights=nowhere\.pth"):
        InceptionFeatures("nowhere.pth")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth does not hold FID's Inception \(Error"):
        InceptionFeatures(tmp_path / "other.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(ValueError, match="holds more than weights"):
        InceptionFeatures(tmp_path / "module.pth")


@pytest.mark.slow
def test_inception_gives_its_pooled_features(tmp_path, monkeypatch, write_pictures):
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    monkeypatch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
    with monkeypatch.context() as untrained:
        untrained.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.save(module.FeatureExtractorInceptionV3("untrained", ["2048"]).state_dict(), tmp_path / "weights.pth")
    network = InceptionFeatures(tmp_path / "weights.pth")
    paths = sorted(write_pictures("made", ["red", "blue"], sentences=False).iterdir())
    [batch] = feature_batches(network, paths, 16, "generated")
    assert batch.shape == (2, 2048) and batch.isfinite().all() and len(network.description["sha256"]) == 64
