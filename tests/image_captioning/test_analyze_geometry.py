"""The geometry of a tiny store, through the command's function: figures, JSON, sampling, and what users do wrong."""

from __future__ import annotations

import json
import sys

import pytest

from embedding_space.store import EmbeddingStore
from image_captioning.analyze_geometry import analyze_geometry, sample_store
from image_captioning.load_alignments import load_alignment


@pytest.fixture
def config(make_store, compose, tmp_path):
    store = make_store(images=30, texts=60)

    def made(*overrides: str):
        data = ["dataset=tables", "dataset.name=tiny", f"dataset.root={store.path.parent}", f"store={store.path}"]
        return compose("analyze_geometry", *data, f"output_dir={tmp_path}/out", "draws=200", *overrides)

    return made


def test_figures_and_one_json_for_raw_rows_and_after_alignments(config, tmp_path, capsys):
    results = analyze_geometry(config("alignments=[c2_collapse,c3_auto]", "points=20"))
    out = tmp_path / "out"
    assert json.loads((out / "geometry.json").read_text()) == results
    assert list(results["states"]) == ["raw", "c2_collapse", "c3_auto"]
    assert results["sample"]["uses_pairs"] and results["sample"]["drawn"] == {"images": 30, "texts": 60}
    assert results["alignments"]["c3_auto"]["estimates"][0]["data"] == "unpaired" and results["command"]
    for name in ("summary", "cosines", "gap_directions", "gap_axes", "spread", "residuals", "pca"):
        assert all((out / f"{name}.{ending}").stat().st_size > 3000 for ending in ("png", "svg"))
    assert "c2_collapse" in capsys.readouterr().out and "| c3_auto " in (out / "table.md").read_text()


def test_methods_have_the_settings_of_the_experiment(config, monkeypatch):
    monkeypatch.setattr("image_captioning.load_alignments.Alignment.from_store", lambda entries, *_: entries)
    settings = config("stage_experiment=flickr8k_photos")
    (bridge,) = (e for e in load_alignment("diffusion_bridge", settings, None) if e["step"] == "DiffusionBridge")
    assert (bridge["text_timestep"], bridge["image_timestep"], bridge["image_steps"]) == (250, 400, 1)


def test_other_texts_are_unpaired_and_have_no_paired_figures(config, tmp_path):
    results = analyze_geometry(config("split=pretrain", "text_split=train", "alignments=[]"))
    assert results["states"]["raw"]["paired"] is None and not results["sample"]["uses_pairs"]
    assert not (tmp_path / "out" / "residuals.png").exists() and (tmp_path / "out" / "summary.png").exists()


def test_rows_are_drawn_by_the_seed_with_their_own_texts(config):
    settings = config("max_images=7", "max_texts=9")
    store = EmbeddingStore(settings.store)
    first, sample = sample_store(store, settings)
    again, _ = sample_store(store, settings)
    other, _ = sample_store(store, config("max_images=7", "max_texts=9", "seed=1"))
    assert (first.images == again.images).all() and not (first.images == other.images).all()
    assert sample["drawn"] == {"images": 7, "texts": 9} and sample["of"] == {"images": 30, "texts": 60}
    images, texts, pairs = store.images("val"), store.texts("val"), store.pairs("val")
    for text, row in zip(first.texts, first.image_row, strict=True):
        same = ((texts - text).norm(dim=1) < 1e-6).nonzero()[:, 0]
        assert any((images[pairs[int(p)]] == first.images[row]).all() for p in same)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["alignments=[nope]"], "'nope' is neither a config"),
        (["alignments=[c1,c1]"], r"alignments=\[c1,c1\] has c1 twice"),
        (["split=train"], "no images of split 'train'"),
        (["max_images=2"], "max_images=2 must be null or a whole number, at least 4"),
        (["variance_share=1.0"], "variance_share=1.0 must be a number, above 0 and below 1"),
        (["draws=1"], "draws=1 must be a whole number, at least 2"),
    ],
)
def test_bad_options_are_refused(config, overrides, message):
    with pytest.raises(ValueError, match=message):
        analyze_geometry(config("alignments=[]", *overrides))


def test_umap_that_is_not_installed_is_named_before_any_work(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r"umap=true needs the package umap-learn .*\[umap\]"):
        analyze_geometry(config("umap=true"))
