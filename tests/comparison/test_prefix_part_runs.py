"""Methods with prefix parts in a comparison: trained, evaluated and re-used as any other."""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import OmegaConf

from comparison.compare_methods import compare

SMALL = ["loop.steps=6", "decoder.config.n_layer=1", "decoder.config.n_embd=16", "decoder.config.n_head=2"]


def test_ifcap_runs_beside_c1_and_its_row_says_that_it_searches_captions(config, without_java, capsys):
    parts = ["parts=ifcap", "parts.source.captions=5", "parts.source.least=2", "parts.retrieval.neighbors=3"]
    mapper = ["decoder.mapper.kind=fusion", "+decoder.mapper.layers=1", "+decoder.mapper.heads=2"]
    variant = {"ifcap": {"alignment": "c2_corrupt", "captioner": [*parts, *mapper]}}
    config.captioner = [*config.captioner, *SMALL]
    config = OmegaConf.merge(config, {"methods": ["c1", "ifcap"], "seeds": [0], "variants": variant})
    compare(config)
    results = json.loads((Path(config.output_dir) / "results.json").read_text())
    notes = [note for note in results["notes"] if "Search the training captions" in note]
    assert notes == ["Search the training captions at inference, too: ifcap."]
    capsys.readouterr()
    compare(config)
    assert capsys.readouterr().out.count("Already trained") == 2
