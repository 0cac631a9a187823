"""Whole files scored as pycocoevalcap scores them: invented captions with its figures of them, and Flickr8k's own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from evaluation.captions.metrics import score_captions
from evaluation.captions.prediction_files import read_predictions
from evaluation.captions.references import read_reference_file
from scripts.benchmarks.scoring import NAMES, coco_eval, coco_objects

INVENTED = Path(__file__).parent / "invented"
METRICS = ("BLEU", "METEOR", "ROUGE-L", "CIDEr")
# Of COCOEvalCap (pycocoevalcap 1.2) on the files in tests/evaluation/invented.
GOLDEN = {
    "BLEU-1": 0.9347826086550096,
    "BLEU-2": 0.7356561229953692,
    "BLEU-3": 0.5245329966588653,
    "BLEU-4": 0.3980271059790584,
    "METEOR": 0.3099711681494157,
    "ROUGE-L": 0.6125517756786425,
    "CIDEr": 1.262289676707987,
}


@pytest.mark.java
def test_invented_captions_have_pycocoevalcaps_figures(tmp_path):
    predictions = read_predictions(INVENTED / "results.json")
    references = read_reference_file(INVENTED / "annotations.json", image_ids=predictions).captions
    first = score_captions(predictions, references, METRICS, tmp_path)
    assert first.corpus == pytest.approx(GOLDEN, abs=1e-12)
    [cached] = tmp_path.glob("references-*.json")
    assert list(json.loads(cached.read_text())) == list(references)


@pytest.mark.java
@pytest.mark.shared
def test_flickr8k_has_pycocoevalcaps_figures():
    shared = Path(os.environ.get("DIFFUSION_BRIDGE_SHARED", Path(__file__).resolve().parents[4] / "shared"))
    if not (shared / "flickr8k/Flickr8k.token.txt").is_file():
        pytest.skip("Flickr8k is not here")
    photos = (shared / "flickr8k/Flickr_8k.testImages.txt").read_text().split()[:200]
    number = {photo: str(n) for n, photo in enumerate(photos)}
    captions: dict[str, list[str]] = {image_id: [] for image_id in number.values()}
    for line in (shared / "flickr8k/Flickr8k.token.txt").read_text().splitlines():
        name, _, caption = line.partition("\t")
        if (photo := name.split("#")[0]) in number:
            captions[number[photo]].append(caption)
    # People against people, and every other photo against its neighbour's people.
    references = {image_id: sentences[1:] for image_id, sentences in captions.items()}
    predictions = {image_id: captions[str(int(image_id) // 2 * 2)][0] for image_id in captions}
    ours = score_captions(predictions, references, METRICS).corpus
    theirs = coco_eval(*coco_objects(predictions, references))
    assert ours == pytest.approx({name: theirs[their_name] for name, their_name in NAMES.items()}, abs=1e-12)
    assert 0.3 < ours["CIDEr"] < 2
