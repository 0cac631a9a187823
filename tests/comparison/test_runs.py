"""What the runs of several methods read."""

from __future__ import annotations

from pathlib import Path

import pytest

from comparison.methods import find_methods
from comparison.runs import MethodRuns
from evaluation.captions.scoring_options import Scoring

FROM_PAIRS = {"alignment": "c3_auto", "captioner": ["alignment.estimate.data=pairs", "alignment.estimate.split=chosen"]}


@pytest.mark.parametrize(
    ("methods", "overrides", "splits"),
    [
        (["c1", "diffusion_bridge"], {}, ["corpus", "test", "val"]),
        (["c1"], {"image_captioning": ["validation_split=null"]}, ["corpus", "test"]),
        (["diffusion_bridge"], {"ddpm": ["validation_split=other"]}, ["corpus", "other", "test", "val"]),
        (["c3_auto"], {}, ["corpus", "test", "val"]),
        (["from_pairs"], {}, ["chosen", "corpus", "test", "val"]),
    ],
)
@pytest.mark.parametrize("oracles", [[], ["oracle_pairs"]])
def test_the_texts_of_pairs_are_not_read_and_those_of_validations_are(tmp_path, methods, overrides, splits, oracles):
    runs = MethodRuns(
        name="tiny",
        runs_dir=str(tmp_path),
        store=Path("data/tiny/words"),
        methods=find_methods(methods, oracles, {"from_pairs": FROM_PAIRS}),
        decodings={},
        split="test",
        scoring=Scoring(("CIDEr",), str(tmp_path)),
        overrides=overrides,
    )
    assert runs.text_splits("corpus", 0) == splits
