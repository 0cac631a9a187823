"""The consensus of the captions near an image: agreement, expectation and choice against slow references."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alignment.chain import Alignment
from alignment.steps import Normalize
from evaluation.captions.scoring_options import Scoring
from image_captioning.consensus import Consensus, ConsensusMemory, NGramVectors, memory_of
from image_captioning.evaluate import evaluate_captioner
from image_captioning.generation import Decoding, beam_hypotheses
from image_captioning.inference_inputs import InferenceInputs, named_training_source

CAPTIONS = ["a dog runs on the grass", "A dog runs.", "a cat sleeps on a red mat", "two dogs run", "a dog"]


def agreement(one: str, other: str) -> float:
    """CIDEr of two captions, without its penalty on length, one n-gram at a time."""
    documents = [caption.lower().rstrip(".").split() for caption in CAPTIONS]

    def grams(words, n):
        return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]

    def vector(caption, n):
        counts = Counter(grams(caption.lower().rstrip(".").split(), n))
        with_it = {gram: sum(gram in grams(words, n) for words in documents) for gram in counts}
        return {g: k * math.log(len(documents) / with_it[g]) for g, k in counts.items() if with_it[g]}

    total = 0.0
    for n in range(1, 5):
        a, b = vector(one, n), vector(other, n)
        norms = math.hypot(*a.values()) * math.hypot(*b.values())
        total += sum(value * b.get(gram, 0.0) for gram, value in a.items()) / norms if norms else 0.0
    return total / 4


def memory(seed: int = 0) -> ConsensusMemory:
    rows = F.normalize(torch.randn(len(CAPTIONS), 8, generator=torch.Generator().manual_seed(seed)), dim=-1)
    return ConsensusMemory(CAPTIONS, rows, Alignment([Normalize()]))


def test_agreement_is_that_of_a_slow_reference():
    vectors = NGramVectors(CAPTIONS)
    hypotheses = ["a dog runs on a red mat", "two dogs", "nothing known here", "", "a cat sleeps on a red mat ."]
    fast = (vectors(hypotheses) @ vectors.vectors.T).toarray()
    slow = [[agreement(hypothesis, caption) for caption in CAPTIONS] for hypothesis in hypotheses]
    assert fast == pytest.approx(np.array(slow), abs=1e-6)
    assert fast[4, 2] == pytest.approx(1) and not fast[2].any() and not fast[3].any()


@pytest.mark.parametrize("half", [False, True])
def test_scores_are_expected_agreements_over_the_nearest_captions_in_any_precision(half):
    images = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    hypotheses = [f"a {thing} runs on the {place}" for thing in ("dog", "cat", "red") for place in ("grass", "mat")]
    with torch.autocast("cpu", torch.bfloat16, enabled=half):  # as while the captioner writes
        scores = Consensus(memory(), images, count=3, temperature=0.1).scores(hypotheses, 0, 2)
    cosines = F.normalize(images, dim=-1) @ memory().rows.T
    for row in range(3):
        top = cosines[row].topk(3)
        weights = (top.values / 0.1).softmax(0)
        for place in range(2):
            terms = zip(weights.tolist(), top.indices.tolist(), strict=True)
            expected = sum(w * agreement(hypotheses[2 * row + place], CAPTIONS[c]) for w, c in terms)
            assert scores[row, place].item() == pytest.approx(expected, abs=1e-6)


def test_parts_of_a_batch_have_the_scores_of_the_whole():
    images = torch.randn(4, 8, generator=torch.Generator().manual_seed(2))
    hypotheses = ["a dog", "a cat", "two dogs run", "a red mat", "the grass", "a dog runs", "a mat", "a cat sleeps"]
    consensus = Consensus(memory(), images, count=100, temperature=0.2)  # more than there are
    whole = consensus.scores(hypotheses, 0, 2)
    assert torch.allclose(consensus.scores(hypotheses[4:], 2, 2), whole[2:])


def test_captions_of_few_words_make_a_memory():
    vectors = NGramVectors(["a dog", "a cat"])  # without 3-grams
    assert (vectors(["a dog"]) @ vectors.vectors.T).toarray()[0] == pytest.approx([0.5, 0.0])


@pytest.fixture
def captioner(make_captioner, make_store):
    store = make_store(dim=8)
    made = make_captioner()
    made.encoder_description = store.manifest.encoder
    made.provenance = {"dataset": "tiny", "store_hash": store.hash, "train_on": "text"}
    return made, store


DECODING = Decoding("beam", beams=4, max_new_tokens=8, consensus_weight=1e6, consensus_captions=5)


def test_an_evaluation_writes_the_hypothesis_that_agrees_most(captioner, tmp_path):
    model, store = captioner
    inputs, scoring = InferenceInputs(store, "test"), Scoring(["CIDEr"])
    result = evaluate_captioner(model, inputs, tmp_path, DECODING, scoring)
    written = json.loads((tmp_path / "predictions.json").read_text())
    images = store.images("test")
    prefix = model.mapper(model.align_images(images))
    ids, _ = beam_hypotheses(
        model.language_model, prefix, DECODING, model.tokenizer.eos_token_id, model.banned_tokens(), 4
    )
    hypotheses = [text.strip() for text in model.tokenizer.batch_decode(ids, skip_special_tokens=True)]
    consensus = Consensus(ConsensusMemory.from_store(store, store.text_split), images, 5, 0.1)
    best = consensus.scores(hypotheses, 0, 4).argmax(dim=1)
    assert [entry["caption"] for entry in written] == [
        hypotheses[4 * row + choice] for row, choice in enumerate(best.tolist())
    ]
    assert result.decoding["consensus_weight"] == 1e6 and "clip_weight" in result.decoding
    assert "consensus_weight" not in Decoding("beam").recorded()  # evaluations of before are known again


def test_captions_that_are_not_to_be_had_are_named(captioner, tmp_path):
    model, store = captioner
    model.provenance = {"dataset": "other", "store_hash": "0" * 64}
    with pytest.raises(ValueError, match=r"consensus_weight=.* trained on another store .* training_store=\.\.\."):
        evaluate_captioner(model, InferenceInputs(store, "test"), tmp_path, DECODING)
    with pytest.raises(ValueError, match=r"name their store with training_store=\.\.\."):
        model.caption_images(store.images("test"), DECODING, progress=False)
    with pytest.raises(ValueError, match=r"consensus_weight=1.0 needs decoding.beams > 1"):
        Decoding("beam", beams=1, consensus_weight=1.0)


def test_files_are_captioned_with_the_store_of_the_training(captioner):
    model, store = captioner
    named = named_training_source(store.path, model)
    memory = memory_of(named)
    assert memory is not None and len(memory().rows) == len(store.captions(store.text_split))
    model.provenance = {"dataset": "other", "store_hash": "0" * 64}
    with pytest.raises(ValueError, match=r"training_store=.* trained on another store"):
        named_training_source(store.path, model)
