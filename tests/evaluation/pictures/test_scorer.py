"""All metrics of a small set, what a result says of them, and what stops one alone."""

from __future__ import annotations

import json

import pytest
import torch

from evaluation.captions.clip_score import ClipScoring
from evaluation.pictures.caption_judge import Judgments
from evaluation.pictures.errors import UnreadablePictures
from evaluation.pictures.generated import read_generated
from evaluation.pictures.references import folder_references
from evaluation.pictures.result import GenerationResult
from evaluation.pictures.scorer import OF_REFERENCES, WITHIN, PictureScorer
from evaluation.pictures.scoring_options import METRICS, PictureScoring
from evaluation.pictures.sentences import RPrecision
from evaluation.pictures.tables import notes, picture_table

MADE, REAL = ["red", "green", "blue", "red", "green"], ["red", "green", "blue", "blue"]
WITHOUT_LIBRARY = ("CLIPScore", "R-precision", "diversity", "objects")


@pytest.fixture
def make_scorer(write_pictures, color_encoder):
    """A factory of scorers of five pictures against four; options of `PictureScoring` by name."""

    def make(facts: dict | None = None, judge=None, caption_judge=None, encoder=None, **options) -> PictureScorer:
        made = read_generated(write_pictures("made", MADE, facts=facts))
        real = folder_references(write_pictures("real", REAL, sentences=False, side=24))
        options = {"metrics": WITHOUT_LIBRARY, "r_precision": RPrecision(candidates=3), **options}
        return PictureScorer(made, real, encoder or color_encoder(), PictureScoring(**options), judge, caption_judge)

    return make


class Halves:
    """Sees what half of the pictures' sentences say."""

    names, description = ("seen", "unsaid"), {"name": "halves", "sha256": "0"}

    def judge(self, paths, sentences):
        assert [path.name for path in paths] == [f"00{number}.png" for number in range(5)] and len(sentences) == 5
        nothing = torch.full((5,), torch.nan)
        return Judgments({"seen": torch.tensor([1.0, 0.0, 1.0, 0.0, torch.nan]), "unsaid": nothing}, ["a warning"])


def test_pictures_of_their_sentences_colors_are_right(make_scorer):
    result = make_scorer().score()
    metrics = result.metrics
    assert metrics["CLIPScore"] == pytest.approx(250, abs=0.2)  # 2.5 times a cosine of 1, in percent
    assert metrics["R-precision"] == metrics["R@1"] == 100
    assert metrics[WITHIN] == pytest.approx(0, abs=1e-3) and metrics["diversity"] > 0.5 < metrics[OF_REFERENCES]
    assert list(result.per_picture) == ["files", "sentences", "caption_ids", "image_ids", "CLIPScore", "R-precision"]
    assert all(len(values) == 5 for values in result.per_picture.values())


def test_the_result_says_what_was_compared_with_what(make_scorer):
    result = make_scorer(seed=7, facts={"made_by": "hand"}).score()
    protocol = result.protocol
    assert (protocol.pictures, protocol.sentences, protocol.pictures_per_sentence) == (5, 3, (1, 2))
    assert len(protocol.sentences_hash) == 64
    assert protocol.reference.pictures == 4 and protocol.reference.folder.endswith("real")
    assert (protocol.picture_size, protocol.seed, protocol.sentences_from) == (16, 7, "images.json")
    assert protocol.encoder == {"name": "colors", "model": "colors"} == protocol.judge.encoder
    assert (protocol.judge.candidates, protocol.judge.prefix, protocol.judge.weight) == (3, "", 2.5)
    assert result.generation == {"made_by": "hand"} and "commit" in result.provenance


def test_a_result_comes_back_from_json(make_scorer):
    result = make_scorer(caption_judge=Halves()).score()
    content = json.loads(json.dumps(result.to_json()))
    assert GenerationResult.from_json(content) == result and "per_picture" not in content
    with pytest.raises(ValueError, match="protocol"):
        GenerationResult.from_json({"metrics": {}})


@pytest.mark.parametrize(
    ("facts", "read"),
    [
        ({}, None),
        ({"encoder": {"name": "its", "model": "other"}}, False),
        ({"encoders": {"images": {"name": "a", "model": "b"}, "texts": {"name": "its", "model": "colors"}}}, True),
    ],
)
def test_a_judge_that_the_generator_reads_is_said(make_scorer, facts, read):
    result = make_scorer(facts).score()
    assert result.protocol.judge.read_by_generator is read
    said = {None: "nobody says", False: "does not read", True: "reads, too"}[read]
    assert said in " ".join(notes(result))


def test_another_encoder_may_judge(make_scorer, color_encoder):
    class Backward(color_encoder):
        def image_features(self, pictures):
            return super().image_features(pictures).flip(1)

    result = make_scorer(judge=Backward("backward")).score()
    assert result.protocol.judge.encoder["name"] == "backward" and result.protocol.encoder["name"] == "colors"
    assert result.metrics["R@1"] == pytest.approx(40)  # green alone is the same backward


def test_a_caption_judge_is_asked_and_quoted(make_scorer):
    result = make_scorer(caption_judge=Halves()).score()
    assert result.metrics["seen"] == 50 and result.per_picture["seen"] == [1, 0, 1, 0, None]
    assert result.metrics["unsaid"] is None and "no sentence says" in result.unavailable["unsaid"]
    assert result.warnings == ["a warning"] and result.protocol.caption_judge == Halves.description


def test_towers_without_a_joint_space_leave_the_rest(make_scorer, color_encoder):
    result = make_scorer(encoder=color_encoder(joint=False)).score()
    assert {name for name, value in result.metrics.items() if value is None} == {
        "CLIPScore",
        "R-precision",
        "R@1",
        "R@5",
    }
    assert "no joint space" in result.unavailable["CLIPScore"]
    table = picture_table(result).text()
    assert "CLIPScore" in table and "–" in table
    assert any("CLIPScore and R-precision and R@1 and R@5 could not run" in note for note in notes(result))


def test_few_sentences_leave_r_precision_out(make_scorer):
    result = make_scorer(r_precision=RPrecision(candidates=50)).score()
    assert result.metrics["R-precision"] is None and result.metrics["R@1"] == 100
    assert "lower r_precision.candidates=50" in result.unavailable["R-precision"]


def test_distances_are_named_after_their_features(make_scorer):
    pytest.importorskip("torch_fidelity")
    scorer = make_scorer(metrics=("FID", "KID", "Frechet", "kernel"), inception_weights="nowhere.pth")
    result = scorer.score()
    assert result.metrics["FID"] is result.metrics["KID"] is result.protocol.inception is None
    assert "no file fid.weights=nowhere.pth" in result.unavailable["FID"]
    assert result.metrics["Fréchet distance (colors)"] > 0 and "kernel distance (colors)" in result.metrics
    assert result.protocol.kernel["kernel distance (colors)"].subset_size == 4
    assert result.protocol.judge is None and result.warnings == []
    assert "Fréchet distance (colors)" in picture_table(result).text()


def test_few_pictures_make_a_frechet_distance_suspicious(write_pictures, color_encoder):
    pytest.importorskip("torch_fidelity")
    made, real = read_generated(write_pictures("made", MADE)), folder_references(write_pictures("real", REAL[:3]))
    result = PictureScorer(made, real, color_encoder(), PictureScoring(metrics=("Frechet",))).score()
    assert result.warnings[0].startswith("3 pictures are too few for 3 dimensions")


def test_unreadable_pictures_stop_all(make_scorer):
    scorer = make_scorer()
    scorer.references.paths[0].write_bytes(b"nothing")
    with pytest.raises(UnreadablePictures, match="1 of 4 reference pictures"):
        scorer.score()


def test_unknown_metrics_are_refused():
    with pytest.raises(ValueError, match=r"Unknown metrics \['IS'\] \(option metrics\); known: FID"):
        PictureScoring(metrics=("IS",))
    with pytest.raises(ValueError, match="at least one"):
        PictureScoring(metrics=())
    assert "FID" in METRICS


def test_all_that_decides_is_among_the_inputs(make_scorer):
    scorer = make_scorer()
    inputs = scorer.inputs()
    changed = PictureScorer(
        scorer.generated, scorer.references, scorer.encoder, PictureScoring(clip_score=ClipScoring(prefix="a photo of"))
    )
    assert inputs != changed.inputs() and json.loads(json.dumps(inputs)) is not None
