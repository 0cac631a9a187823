"""The Python on docs/extending.md runs and does what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from alignment.chain import Alignment
from embedding_space.datasets.make import READERS
from image_captioning.alignments import STEPS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"


@pytest.fixture
def run_section(tmp_path, monkeypatch):
    """Runs all Python of a section of the page in one namespace, in an empty folder, and returns the namespace."""
    monkeypatch.chdir(tmp_path)
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL))

    def run(section: str, **names) -> dict:
        blocks = re.findall(r"^```python\n(.*?)^```", sections[section], re.MULTILINE | re.DOTALL)
        assert blocks
        namespace = {"__name__": "extending", **names}
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), namespace)
        return namespace

    return run


def test_a_method(run_section, make_store, monkeypatch):
    monkeypatch.setitem(STEPS, "NoiseAcrossGap", None)  # the page's entry goes again afterwards
    store = make_store()
    names = run_section("A method", store=store)
    alignment, texts = names["alignment"], names["texts"]
    assert torch.allclose(texts.norm(dim=-1), torch.ones(len(texts)), atol=1e-5)
    assert not torch.equal(texts, alignment.training_side(store.texts("train")))
    gap = alignment.steps[1].gap
    clean = store.texts("train").float()
    noised = alignment.steps[1].training_side(clean, torch.randn_like)
    assert torch.allclose(noised @ gap, clean @ gap, atol=1e-5)
    assert torch.allclose(names["images"], store.images("test").float(), atol=1e-3)
    rebuilt = Alignment.from_options(alignment.options(), STEPS)
    rebuilt.load_state_dict(alignment.state_dict())
    assert rebuilt.hash == alignment.hash
    assert len(names["by_hand"].steps) == 3


def test_an_encoder(run_section):
    Image.new("RGB", (20, 10), "red").save("photo.jpg")
    names = run_section("An encoder")
    assert names["rows"].shape == (1, 192)
    first, second = names["sentences"]
    assert first @ second == pytest.approx(2 / 10**0.5)


def test_a_data_set(run_section, monkeypatch):
    monkeypatch.setitem(READERS, "by_split", None)
    Path("photos").mkdir()
    Image.new("RGB", (20, 10)).save("photos/dog.jpg")
    Path("photos/captions.json").write_text(json.dumps({"train": {"dog.jpg": ["a dog", "a brown dog"]}}))
    tables = run_section("A data set")["tables"]
    assert tables.captions["caption"].to_pylist() == ["a dog", "a brown dog"]
    assert Path("data/mine/images.parquet").is_file()


def test_a_metric(run_section):
    corpus, per_image = run_section("A metric")["values"]["length ratio"]
    assert corpus == per_image[0] == pytest.approx(4 / 3.5)
