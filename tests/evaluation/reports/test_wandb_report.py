"""The layout of the W&B report, as far as no server is asked."""

from __future__ import annotations

import pytest

pytest.importorskip("wandb_workspaces")

from evaluation.reports.wandb_report import make_report, report_layout


def found(value: object, key: str) -> list:
    """All values of `key` in nested dictionaries and lists."""
    if isinstance(value, list):
        return [hit for part in value for hit in found(part, key)]
    if not isinstance(value, dict):
        return []
    return [part for name, part in value.items() if name == key] + found(list(value.values()), key)


def test_the_report_shows_curves_captions_over_time_a_sweep_and_comparisons():
    report = report_layout("tries", "", "A title", "CIDEr", ["training.alignment.noise_std", "decoding.beams"])
    layout = report._to_model().model_dump(by_alias=True, mode="json")
    assert layout["displayName"] == "A title"
    kinds = found(layout, "viewType")
    assert kinds.count("Run History Line Plot") == 4 and kinds.count("Parallel Coordinates Plot") == 1
    [axes] = [columns for columns in found(layout, "columns") if columns and "accessor" in columns[0]]
    names = ["config:training.value.alignment.noise_std", "config:decoding.value.beams", "summary:CIDEr"]
    assert [axis["accessor"] for axis in axes] == names
    chosen = [entry["value"] for entry in found(layout, "filters") if isinstance(entry, dict) and "value" in entry]
    values = [part["value"] for part in found(layout, "filters") if isinstance(part, list) for part in part]
    assert {"training", "evaluation", "sweep", "comparison"} <= {*chosen, *map(str, values)}
    for table in ("samples", "metrics", "sweep", "results", "intervals", "runs", "gallery"):
        assert f"'{table}'" in str(layout)


def test_without_an_account_it_says_how_to_get_one(compose, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(ValueError, match=r"no key is set: run wandb login, or set WANDB_API_KEY"):
        make_report(compose("wandb_report"))
