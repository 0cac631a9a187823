"""Ranking beams by CLIP: parity with a slow loop, and what its weight does."""

import pytest
import torch
import torch.nn.functional as F

from image_captioning.generation import Decoding, beam_hypotheses, generate
from image_captioning.reranking import Reranker


class LetterEncoder:
    """A sentence is the counts of eight letters."""

    def __init__(self):
        self.asked = []

    def encode_texts(self, texts):
        self.asked.append(texts)
        return torch.tensor([[1.0 + text.count(letter) for letter in "aeorbtdn"] for text in texts])


@pytest.fixture
def captioner(make_captioner):
    return make_captioner()


def rows(count: int) -> torch.Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(1))


def beams(captioner, images, decoding):
    end = captioner.tokenizer.eos_token_id
    prefix = captioner.mapper(captioner.align_images(images))
    return beam_hypotheses(captioner.decoder, prefix, decoding, end, captioner.banned_tokens(), decoding.beams)


@torch.no_grad()
def test_hypotheses_come_best_first_with_their_log_probability(captioner):
    decoding = Decoding("beam", beams=4, max_new_tokens=8, length_penalty=0.0)
    ids, scores = beams(captioner, rows(5), decoding)
    assert scores.shape == (5, 4) and (scores.diff(dim=1) <= 0).all()
    aligned, end = captioner.align_images(rows(5)), captioner.tokenizer.eos_token_id
    prefix = captioner.mapper(aligned)
    best = generate(captioner.decoder, prefix, decoding, end, captioner.banned_tokens())
    for number, (row, score) in enumerate(zip(ids, scores.flatten(), strict=True)):
        length = int((row != end).sum())
        tokens = row[: length + 1][None]  # with its end token, if it has one
        sums = captioner(aligned[number // 4][None], tokens, torch.ones_like(tokens, dtype=torch.bool))
        # Banned tokens are out of the running, but their probability is not given to the others.
        torch.testing.assert_close(-sums[0], score, rtol=1e-4, atol=1e-4)
        if number % 4 == 0:
            assert row[:length].tolist() == best[number // 4][:length].tolist()


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [3, 64])
def test_captions_are_those_of_a_slow_loop(captioner, batch_size):
    images, decoding = rows(11), Decoding("beam", beams=4, clip_weight=3.0, max_new_tokens=8)
    asked = LetterEncoder()
    captions = captioner.caption_images(images, decoding, batch_size, progress=False, encoder=asked)
    ids, scores = beams(captioner, images, decoding)
    expected, encoder = [], LetterEncoder()
    for number, image in enumerate(images):
        texts = [captioner.tokenizer.decode(row, skip_special_tokens=True).strip() for row in ids[4 * number :][:4]]
        values = [
            float(score) + 3.0 * float(F.cosine_similarity(encoder.encode_texts([text])[0], image, dim=0))
            for text, score in zip(texts, scores[number], strict=True)
        ]
        expected.append(texts[values.index(max(values))])
    assert captions == expected
    assert captions != captioner.caption_images(images, Decoding("beam", beams=4, max_new_tokens=8), progress=False)
    assert all(len(texts) == len(set(texts)) for texts in asked.asked)


def test_a_heavy_weight_leaves_the_choice_to_clip_and_the_gap_changes_nothing():
    texts, encoder = ["aaa", "eee", "ooo", "rrr", "aaa", "rrr"], LetterEncoder()
    images = encoder.encode_texts(["ee", "r"])
    scores = torch.tensor([[0.0, -9.0, -1.0], [0.0, -1.0, -9.0]])
    assert Reranker(images, encoder).choose(texts, scores, 0, 0.0) == ["aaa", "rrr"]
    assert Reranker(images, encoder).choose(texts, scores, 0, 1e6) == ["eee", "rrr"]
    assert Reranker(5 * images, encoder).choose(texts, scores, 0, 1e6) == ["eee", "rrr"]


def test_an_encoder_that_is_not_to_be_had_is_named(make_captioner):
    with pytest.raises(ValueError, match=r"decoding.clip_weight > 0 needs the encoder of the embeddings: "):
        make_captioner().caption_images(rows(2), Decoding("beam", clip_weight=1.0), progress=False)
