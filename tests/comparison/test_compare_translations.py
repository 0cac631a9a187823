"""Comparisons of translations, from the entry function to the table, on a tiny store of words."""

from __future__ import annotations

import pytest

from comparison.compare_translations import compare, find_variants
from evaluation.reports.comparison_report import read_comparison


@pytest.fixture
def comparison(make_store, add_towers, compose, tmp_path):
    """Compose a comparison on a tiny store, or with `towers` on one of two towers."""
    store = make_store(dim=16, images=48)

    def config(*overrides: str, towers: bool = False):
        path = (add_towers(store) if towers else store).path
        tiny = (
            "loop.steps=2", "loop.batch_size=16", "loop.warmup_steps=0", "loop.ema_decay=null", "sampling.steps=2",
            "loop.evaluate_every=null", "loop.checkpoint_every=null",
        )  # fmt: skip
        small = ["model.cdim.denoiser.width=16", "model.cdim.denoiser.depth=1"]
        return compose(
            "compare_translations", f"image_store={path}", f"text_store={path}", "dataset.pairs_split=pretrain",
            f"runs_dir={tmp_path / 'runs'}", f"output_dir={tmp_path / 'table'}", "neighbours=[1,5]",
            f"training={list(tiny)}", f"variants.ced.training={small}", *overrides,
        )  # fmt: skip

    return config


def test_a_comparison_trains_each_variant_once_and_has_all_rows(comparison, tmp_path, capsys):
    rows = "rows=[untranslated,mean,nearest,linear,mlp,ced,ced_without_ddim,ced_tuned]"
    result = compare(
        comparison(
            rows, "seeds=[0,1]", "sweep_of=ced", "sweeps.gamma=[0.5]", "sweeps.guidance_scale=[]", "sweeps.steps=[1]"
        )
    )
    by_row = {run.row: run for run in result.translations}
    assert list(by_row) == [
        "untranslated", "mean", "nearest", "linear", "mlp", "ced", "ced_without_ddim", "ced_tuned", "ced, gamma=0.5",
        "ced, steps=1",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "runs" / "modality_translation").iterdir()) == [
        f"demo_{name}_seed{seed}" for name in ("ced", "mlp") for seed in (0, 1)
    ]
    assert set(by_row["ced_tuned"].chosen["image_to_text"]) == {"gamma", "guidance_scale", "steps"}
    assert by_row["nearest"].chosen["text_to_image"]["neighbours"] in (1, 5) and result.facts["uses_pairs"] is True
    linear, mean = (by_row[name].metrics["image_to_text"] for name in ("linear", "mean"))
    assert linear.similarity > mean.similarity
    assert read_comparison(tmp_path / "table") == result
    table = (tmp_path / "table" / "table.md").read_text()
    assert "±" in table and "Sim" not in table and "image to text (sim_txt)" in table
    printed = capsys.readouterr().out
    assert "seed 1 ced_tuned" in printed and "2 seed(s)" in printed


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("rows=[cedd]",), "Unknown row 'cedd'; known: untranslated, mean"),
        (("seeds=[0,0]",), "seeds="),
        (("+variants.odd={of: nothing}", "rows=[odd]"), "is no variant that is trained"),
        (("+variants.odd={train: []}", "rows=[odd]"), "must have training or of"),
        (
            ("+variants.odd={of: ced, sampling: {gama: 1}}", "rows=[odd]"),
            r"variants\.odd: .*no option sampling\.gama=1",
        ),
        (
            ("+variants.odd={of: ced, tune: {gamma: 0.5}}", "rows=[odd]"),
            r"variants\.odd: tune\.gamma=0\.5 must be a list",
        ),
        (("+variants.odd={of: ced, tune: {steps: [0]}}", "rows=[odd]"), r"variants\.odd: .*steps=0"),
        (("rows=[ced]", "sweep_of=ced", "sweeps.gamma=[-1]"), r"variants\.ced, gamma=-1: .*gamma=-1"),
        (("rows=[ced]", 'training=["validation_split=test"]'), "validation_split is for this command to set"),
        (('+variants.odd={training: ["image_store=x"]}', "rows=[odd]"), "image_store is for this command to set"),
        (("rows=[ced]", "stage_experiment=photo"), "Unknown experiment 'photo'.*photo_translation"),
        (("rows=[ced,mean,mean]",), r"rows=\[ced,mean,mean\] has mean twice"),
        (("rows=[ced]", "sweep_of=ced", "sweeps.gamma=[0.5,0.5]"), r"sweeps.gamma=\[0.5,0.5\] has 0.5 twice"),
        (("rows=[]",), r"rows=\[\] with sweep_of=null asks for nothing"),
        (("rows=[linear]", "ridges=[]"), r"ridges=\[\] must name at least one value"),
    ],
)
def test_bad_comparisons_are_refused_before_anything_is_trained(comparison, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message):
        compare(comparison(*overrides))
    assert not (tmp_path / "runs").exists()


def test_untranslated_rows_need_a_joint_space(comparison):
    with pytest.raises(ValueError, match="untranslated needs images and texts in one space"):
        compare(comparison("rows=[untranslated]", towers=True))


def test_shipped_variants_are_known(compose):
    variants = {variant.name: variant for variant in find_variants(compose("compare_translations", "sweep_of=ced"))}
    projection = variants["ced_without_ddim"]
    assert projection.trained == "ced" and projection.sampling["terms"] == "projection"
    assert variants["joint"].training[0] == "model.projection=joint"
    assert {"ced, gamma=2.0", "ced, guidance_scale=0.0", "ced, steps=50"} <= set(variants)
    # What is swept is not tuned: all values would be one.
    tuned = find_variants(compose("compare_translations", "rows=[]", "sweep_of=ced_tuned"))
    for variant in tuned:
        assert len(variant.tune) == 2 and set(variant.tune).isdisjoint(variant.sampling)
    # The photos' experiment keeps the variants.
    rows = compose("compare_translations", "experiment=photo_translation")
    assert rows.stage_experiment == "photo_translation" and len(find_variants(rows)) == len(rows.rows) - 3
