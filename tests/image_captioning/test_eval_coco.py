"""What an evaluation's folder keeps: nothing of others is replaced, no failure is kept, and photos without captions."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial

import pyarrow.parquet as pq
import pytest

from embedding_space.write_store import write_store
from evaluation.captions import metrics, scorer
from evaluation.captions.java import JavaError
from evaluation.captions.result import LeftOut
from evaluation.captions.scoring_options import Scoring
from evaluation.captions.tables import metrics_table
from image_captioning.eval_coco import evaluate
from image_captioning.evaluate import evaluate_captioner
from image_captioning.inference_inputs import InferenceInputs

REFERENCES = {str(n): [f"a {word} on a mat", f"the {word}"] for n, word in enumerate(("cat", "dog", "bird", "boat"))}
PREDICTIONS = {image_id: captions[0] for image_id, captions in REFERENCES.items()}


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    """Tokens without Java; METEOR runs, if it is in `working`, and says 0.5."""
    working = set()

    def meteor(self, references, hypotheses):
        if "METEOR" not in working:
            raise JavaError("the heap is too small")
        return {"METEOR": (0.5, [0.5] * len(hypotheses))}

    monkeypatch.setattr(metrics, "ptb_tokenize", lambda captions: [caption.lower() for caption in captions])
    monkeypatch.setattr(
        metrics, "tokenize_references", lambda references, _: {i: list(c) for i, c in references.items()}
    )
    monkeypatch.setattr(metrics.CaptionScorer, "_meteor_scores", meteor)
    monkeypatch.setattr(metrics.CaptionScorer, "_start_meteor", lambda self: None)
    return working


@pytest.fixture
def score(compose, tmp_path, monkeypatch):
    """`score(predictions, references, option=value)`: a file's evaluation; folders are in tmp_path."""
    monkeypatch.chdir(tmp_path)

    def score(predictions=PREDICTIONS, references=REFERENCES, folder="run", **options):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name, content in (("predictions", predictions), ("references", references)):
            (tmp_path / folder / f"{name}.json").write_text(json.dumps(content))
        named = [options.pop(f"{name}_file", f"{folder}/{name}.json") for name in ("predictions", "references")]
        files = [f"predictions={named[0]}", f"references={named[1]}"]
        options = {"metrics": "[CIDEr]", "cache_dir": "cache", **options}
        return evaluate(compose("eval_coco", *files, *(f"{name}={value}" for name, value in options.items())))

    return score


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"checkpoint": "photos"},
            r"checkpoint=photos is of a captioner, and predictions=run/predictions\.json is a file",
        ),
        ({"caption_from": "texts"}, "caption_from=texts is of a captioner"),
        ({"image_side.image_timestep": 3}, r"image_side=\{'image_timestep': 3\} is of a captioner"),
        ({"alignment": "c3"}, "alignment=c3 is of a captioner"),
        ({"translation": "x"}, "translation=x is of a captioner"),
    ],
)
def test_options_of_captioners_are_refused_with_a_file_of_captions(score, options, message):
    with pytest.raises(ValueError, match=message):
        score(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["references_split=test"], "references_split=test is of predictions= and references="),
        (["allow_missing=true"], "allow_missing=True is of predictions="),
        (["predictions=''", "references=''"], r"There is no file .*option predictions"),
    ],
)
def test_options_of_files_are_refused_with_a_captioner(compose, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        evaluate(compose("eval_coco", *options), lambda checkpoint: pytest.fail("captions"))


@pytest.mark.parametrize("name", ["p.json", "p.jsonl", "p.csv", "p.tsv", "p.txt"])
def test_an_empty_file_of_captions_is_named(score, tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=re.escape(name)):
        score(predictions_file=name)
    with pytest.raises(ValueError, match=re.escape(name)):
        score(references_file=name)


def test_files_of_one_name_have_folders_apart(score, tmp_path):
    first = score(folder="run_a")
    second = score(dict.fromkeys(PREDICTIONS, "something else"), folder="run_b")
    assert first.metrics != second.metrics
    folders = sorted((tmp_path / "outputs/evaluation").iterdir())
    assert len(folders) == 2 and all(folder.name.startswith("scored_predictions_") for folder in folders)
    kept = [json.loads((folder / "scores.json").read_text())["metrics"] for folder in folders]
    assert first.metrics in kept and second.metrics in kept


def test_a_folder_of_other_inputs_is_refused_unless_overwritten(score, tmp_path, capsys, monkeypatch):
    first = score(output_dir="out")
    before = (tmp_path / "out/scores.json").read_text()
    for change in (
        {"predictions": PREDICTIONS | {"0": "a"}},
        {"references": REFERENCES | {"0": ["a"]}},
        {"metrics": "[BLEU]"},
    ):
        with pytest.raises(ValueError, match=r"out holds another evaluation .*output_dir=.*overwrite=true"):
            score(output_dir="out", **change)
        assert (tmp_path / "out/scores.json").read_text() == before
    with monkeypatch.context() as patched:
        patched.setattr("evaluation.captions.scorer.score_captions", lambda *a, **k: pytest.fail("scored again"))
        assert score(dict(reversed(PREDICTIONS.items())), output_dir="out").to_json() == json.loads(before)
    assert "Already evaluated: out" in capsys.readouterr().out
    second = score(dict.fromkeys(PREDICTIONS, "a"), output_dir="out", overwrite=True)
    assert json.loads((tmp_path / "out/scores.json").read_text()) == second.to_json() != first.to_json()


def test_clip_score_of_a_file_without_a_store_is_null_and_says_why(score, monkeypatch):
    result = score(metrics="[CIDEr,CLIPScore]", output_dir="out")
    assert result.metrics["CIDEr"] is not None and result.metrics["CLIPScore"] is None
    assert "clip_score.store=" in result.unavailable["CLIPScore"]
    monkeypatch.setattr(scorer, "score_captions", lambda *a, **k: pytest.fail("scored again"))
    assert score(metrics="[CIDEr,CLIPScore]", output_dir="out").metrics == result.metrics


@pytest.mark.parametrize("content", ["", "{}", "[1]", "null", '{"metrics": {"CIDEr": 100.0}}'])
def test_scores_that_do_not_say_of_what_are_kept_too(score, tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/scores.json").write_text(content)
    with pytest.raises(ValueError, match="out holds another evaluation"):
        score(output_dir="out")
    assert (tmp_path / "out/scores.json").read_text() == content
    assert score(output_dir="out", overwrite=True).metrics["CIDEr"] > 1


def test_a_metric_that_failed_is_tried_again_and_the_others_are_not(score, no_java, tmp_path, monkeypatch):
    options = {"output_dir": "out", "metrics": "[CIDEr,METEOR]"}
    first = score(**options)
    assert first.metrics["METEOR"] is None and "heap" in first.unavailable["METEOR"]
    assert score(**options) == first  # it fails still
    no_java.add("METEOR")
    monkeypatch.setattr(metrics, "_cider", lambda *arguments: pytest.fail("CIDEr was measured again"))
    second = score(**options)
    assert second.metrics == {**first.metrics, "METEOR": 50} and second.unavailable == {}
    assert json.loads((tmp_path / "out/scores.json").read_text()) == second.to_json()
    per_image = json.loads((tmp_path / "out/per_image.json").read_text())
    assert per_image["METEOR"] == [0.5] * 4 and len(per_image["CIDEr"]) == 4
    monkeypatch.setattr("evaluation.captions.scorer.score_captions", lambda *a, **k: pytest.fail("scored again"))
    assert score(**options) == second


def test_a_failed_metric_of_domains_is_tried_again(score, no_java):
    references = {
        "images": [{"id": int(i), "domain": ("in-domain", "out-domain")[int(i) % 2]} for i in REFERENCES],
        "annotations": [{"image_id": i, "caption": c} for i, captions in REFERENCES.items() for c in captions],
    }
    options = {"output_dir": "out", "metrics": "[CIDEr,METEOR]", "references": references}
    first = score(**options)
    assert {name: part.images for name, part in first.parts.items()} == {"in-domain": 2, "out-domain": 2}
    assert first.parts["in-domain"].metrics["CIDEr"] > 1
    no_java.add("METEOR")
    second = score(**options)
    assert [part.metrics["METEOR"] for part in second.parts.values()] == [50, 50]
    assert second.parts["in-domain"].metrics["CIDEr"] == first.parts["in-domain"].metrics["CIDEr"]
    assert "out-domain" in metrics_table(second).text()


def test_domains_are_scored_as_if_alone(score):
    parts = {"near-domain": ["0", "2"], "out-domain": ["1", "3"]}
    references = {
        "images": [{"id": int(i), "domain": next(name for name in parts if i in parts[name])} for i in REFERENCES],
        "annotations": [{"image_id": i, "caption": c} for i, captions in REFERENCES.items() for c in captions],
    }
    parts_scores = score(references=references).parts
    for name, ids in parts.items():
        alone = score({i: PREDICTIONS[i] for i in ids}, {i: REFERENCES[i] for i in ids}, name)
        assert parts_scores[name].metrics == pytest.approx(alone.metrics)
    some = score({i: PREDICTIONS[i] for i in "013"}, references, "some", allow_missing=True)
    assert {name: part.images for name, part in some.parts.items()} == {"near-domain": 1, "out-domain": 2}
    assert any("1 image (2)" in warning for warning in some.warnings)


def test_scores_are_on_disk_before_what_may_fail_after_them(score, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(scorer, "with_text_statistics", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            score(output_dir="out")
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    assert scores["unfinished"] and scores["metrics"]["CIDEr"] > 1
    assert score(output_dir="out").unfinished is None  # it is not taken for a whole one


def test_ids_and_captions_that_utf8_lacks_are_scored_and_written(score, tmp_path):
    predictions = {"caf\udce9.jpg": "a cat \ud83d on a mat", "naïve 😀.jpg": "a dog"}
    references = {"caf\udce9.jpg": ["a cat on a mat \ude00"], "naïve 😀.jpg": ["a dog", "the dog"]}
    result = score(predictions, references, metrics="[CIDEr,BLEU,ROUGE-L,nouns]", output_dir="out")
    assert None not in result.metrics.values()
    assert set(json.loads((tmp_path / "out/per_image.json").read_text())["image_ids"]) == set(predictions)


def test_predicted_images_without_captions_are_left_out_and_named(score, capsys):
    references = REFERENCES | {"4": [], "5": [" "], "6": []}
    result = score(PREDICTIONS | {"4": "a cat", "5": "a dog"}, references)
    assert result.left_out == LeftOut(2, ["4", "5"]) and result.images == 4
    assert "2 images (4, 5)" in capsys.readouterr().out
    assert result.metrics == score(folder="alone").metrics
    with pytest.raises(ValueError, match=r"None of the 1 images of .*references.json has captions"):
        score({"5": "a"}, {"5": [""]}, "none")


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ({i: PREDICTIONS[i] for i in "012"}, r"1 image \(3\) with references but without a prediction.*allow_missing"),
        (PREDICTIONS | {"9": "a"}, r"1 predicted image \(9\) without references"),
        ({"x.jpg": "a", "y.jpg": "b"}, "2 predicted images .x.jpg, y.jpg. without references.*name them alike"),
    ],
)
def test_ids_that_do_not_fit_are_refused(score, predictions, message):
    with pytest.raises(ValueError, match=message):
        score(predictions)


@pytest.fixture
def with_gaps(make_store, make_captioner, word_encoder):
    """A captioner, and a store of which the test images 0 and 5 have no captions and val has none at all."""
    store = make_store(dim=8)
    path = store.path.parent / "captions.parquet"
    captions = pq.read_table(path)
    ids = captions["caption_id"].to_pylist()
    gone = ("test_0_", "test_5_", "val_")
    pq.write_table(captions.filter([not name.startswith(gone) for name in ids]), path)
    shutil.rmtree(store.path)
    store = write_store(
        store.path.parent, word_encoder(8), name="words", text_split="train", image_mean_split="pretrain"
    )
    captioner = make_captioner()
    captioner.encoder_description = store.manifest.encoder
    return captioner, store


@pytest.mark.parametrize("caption_from", ["images", "texts"])
def test_photos_without_captions_are_left_out_of_a_captioners_scores(with_gaps, tmp_path, caption_from):
    captioner, store = with_gaps
    result = evaluate_captioner(
        captioner, InferenceInputs(store, "test", caption_from=caption_from), tmp_path, scoring=Scoring(["CIDEr"])
    )
    assert result.left_out == LeftOut(2, ["test_0", "test_5"]) and result.images == 38
    entries = json.loads((tmp_path / "predictions.json").read_text())
    ids = [image_id for image_id in store.image_ids("test") if image_id not in ("test_0", "test_5")]
    assert [entry["image_id"] for entry in entries] == ids
    if caption_from == "images":  # each caption is its own photo's
        rows = [store.image_ids("test").index(image_id) for image_id in ids]
        assert [entry["caption"] for entry in entries] == captioner.caption_images(store.images("test")[rows])
    assert 0 < result.gap.image_to_text_recall_at_10 <= 1
    assert InferenceInputs(store, "test").references().left_out == ["test_0", "test_5"]


def test_a_split_that_cannot_be_evaluated_is_refused_at_once(with_gaps, tmp_path, monkeypatch):
    captioner, store = with_gaps
    monkeypatch.setattr(type(captioner), "caption", lambda *a, **k: pytest.fail("captioned"))
    for split, message in (
        ("val", r"None of the 40 images of the split 'val' of .*/tiny has captions .*split=\.\.\."),
        ("dev", "no images of split 'dev'"),
    ):
        inputs = InferenceInputs(store, split)
        for check in (inputs.references, partial(evaluate_captioner, captioner, inputs, tmp_path)):
            with pytest.raises(ValueError, match=message):
                check()
    references = store.tables.references("test") | {"test_7": ["a dog"]}
    monkeypatch.setattr(type(store.tables), "references", lambda tables, split: references)
    with pytest.raises(ValueError, match=r"1 image \(test_7\) with fewer than two captions"):
        InferenceInputs(store, "test", caption_from="texts").references()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"metrics": "[]"}, r"metrics=\[\] must name at least one"),
        ({"metrics": "null"}, r"metrics=null must be a list"),
        ({"metrics": "[cider]"}, r"Unknown metrics \['cider'\]"),
        ({"references_split": "test"}, "no split 'test'"),
        ({"training_store": "nowhere"}, "nowhere"),
    ],
)
def test_bad_options_are_refused_before_anything_is_scored(score, monkeypatch, option, message):
    monkeypatch.setattr("evaluation.captions.scorer.score_captions", lambda *a, **k: pytest.fail("scored"))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        score(**option)
