"""Beams and words agree with what the captioner itself writes and scores."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from image_captioning.generation import Decoding
from image_captioning.inspect_captions import beams, word_log_probabilities
from image_captioning.tokenizer import train_tokenizer

DIM = 8


def rows(count: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, DIM, generator=torch.Generator().manual_seed(1)), dim=-1)


def test_the_best_beam_is_the_caption_and_scores_fall(make_captioner):
    captioner, inputs = make_captioner(), rows(3)
    decoding = Decoding("beam", beams=4, max_new_tokens=8)
    ranked = beams(captioner, inputs, decoding)
    assert [each[0].caption for each in ranked] == captioner.caption(inputs, decoding, progress=False)
    for each in ranked:
        scores = [beam.score for beam in each]
        assert len(each) == 4 and scores == sorted(scores, reverse=True)
    alone = beams(captioner, inputs[1:2], decoding)[0]  # the same whatever the batch, but for rounding
    assert [beam.caption for beam in alone] == [beam.caption for beam in ranked[1]]
    assert [beam.score for beam in alone] == pytest.approx([beam.score for beam in ranked[1]], abs=1e-5)


def test_scores_are_log_probabilities_per_token(make_captioner):
    captioner, inputs = make_captioner(), rows(1)
    longest = 5
    for beam in beams(captioner, inputs, Decoding("beam", beams=3, max_new_tokens=longest))[0]:
        words = [word.log_probability for word in word_log_probabilities(captioner, inputs, [beam.caption])[0]]
        written = words[:longest]  # a caption that is cut has no end token
        assert beam.score == pytest.approx(sum(written) / len(written), abs=1e-4)


def test_one_beam_is_refused(make_captioner):
    with pytest.raises(ValueError, match=r"decoding\.beams=1 must be at least 2"):
        beams(make_captioner(), rows(1), Decoding())


def test_words_sum_to_the_captions_likelihood(make_captioner):
    captioner, inputs = make_captioner(), rows(3)
    captions = ["a dog on a beach", "", "two cats, and a boat"]
    each = word_log_probabilities(captioner, inputs, captions)
    sums, _ = captioner.log_likelihoods(inputs, captions)
    assert [sum(word.log_probability for word in words) for words in each] == pytest.approx(sums.tolist(), abs=1e-4)
    assert [word.text for word in each[0]] == ["a", "dog", "on", "a", "beach", ""]
    assert [word.text for word in each[1]] == [""]
    assert all(word.log_probability <= 0 for words in each for word in words)


def test_tokens_of_a_word_are_one_word(make_captioner):
    captioner = make_captioner()
    captioner.tokenizer = train_tokenizer(["a dog", "a dot", "a dolphin"], kind="bpe", size=262)
    assert len(captioner.tokenizer("dolphin").input_ids) > 1
    captioner.decoder.resize_token_embeddings(len(captioner.tokenizer))
    words = word_log_probabilities(captioner, rows(1), ["a dolphin dog"])[0]
    assert [word.text for word in words] == ["a", "dolphin", "dog", ""]


def test_a_token_of_white_space_belongs_to_the_word_after_it(make_captioner):
    captioner = make_captioner()
    captioner.tokenizer = train_tokenizer(["a dog", "one bird"], kind="bpe", size=270)
    captioner.decoder.resize_token_embeddings(len(captioner.tokenizer))
    words = word_log_probabilities(captioner, rows(1), ["a dog ."])[0]
    assert [word.text for word in words] == ["a", "dog", ".", ""]
