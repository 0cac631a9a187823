"""The sentence decoder, and how any decoder with cross-attention generates."""

from __future__ import annotations

import pytest
import torch

from image_captioning.generation import Decoding, EncodedImages, beam_hypotheses, generate
from pcm_net.decoder import DecoderOptions, make_decoder, sinusoids


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    made = make_decoder(30, 16, 0, DecoderOptions(layers=2, heads=2, feedforward=32, max_positions=20)).eval()
    for parameter in made.parameters():
        parameter.data *= 20 if parameter.ndim > 1 and parameter.requires_grad else 1  # clear choices
    return made


@pytest.fixture(scope="module")
def encoded() -> EncodedImages:
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(6, 7, generator=generator) < 0.6
    mask[:, 0] = True
    return EncodedImages(torch.randn(6, 7, 16, generator=generator), mask)


def prefix(decoder, count: int) -> torch.Tensor:
    return decoder.get_input_embeddings()(torch.zeros(count, 1, dtype=torch.long))


def greedy_by_loop(decoder, encoded: EncodedImages, row: int, steps: int) -> list[int]:
    """One caption, a token at a time, without any cache."""
    one, tokens = encoded[torch.tensor([row])], []
    while len(tokens) < steps and (not tokens or tokens[-1] != 0):
        words = decoder.get_input_embeddings()(torch.tensor([tokens], dtype=torch.long))
        inputs = torch.cat([prefix(decoder, 1), words], dim=1)
        logits = decoder(inputs_embeds=inputs, use_cache=False, **one.arguments()).logits[0, -1]
        logits[1] = -torch.inf
        tokens.append(int(logits.argmax()))
    return tokens


@torch.no_grad()
def test_greedy_search_with_cross_attention_is_that_of_a_plain_loop(decoder, encoded):
    ids = generate(decoder, prefix(decoder, 6), Decoding(max_new_tokens=8), 0, [1], encoded=encoded)
    for row in range(6):
        expected = greedy_by_loop(decoder, encoded, row, 8)
        assert ids[row, : len(expected)].tolist() == expected


@torch.no_grad()
def test_beams_do_not_depend_on_the_batch(decoder, encoded):
    decoding = Decoding("beam", max_new_tokens=8, beams=3)
    together, scores = beam_hypotheses(decoder, prefix(decoder, 6), decoding, 0, [1], 3, encoded)
    assert (scores.diff(dim=1) <= 0).all()
    for row in range(6):
        alone, alone_scores = beam_hypotheses(
            decoder, prefix(decoder, 1), decoding, 0, [1], 3, encoded[torch.tensor([row])]
        )
        torch.testing.assert_close(alone_scores[0], scores[row], atol=1e-4, rtol=1e-4)
        assert alone[0].tolist() == together[3 * row, : alone.shape[1]].tolist()


@torch.no_grad()
def test_what_is_masked_is_not_seen(decoder, encoded):
    other = EncodedImages(torch.where(encoded.mask[..., None], encoded.states, 9.0), encoded.mask)
    runs = [generate(decoder, prefix(decoder, 6), Decoding(max_new_tokens=8), 0, [], 0, e) for e in (encoded, other)]
    assert torch.equal(*runs)


def test_positions_are_fixed_sinusoids_and_the_output_is_untied(decoder):
    positions = decoder.base_model.embeddings.position_embeddings.weight
    assert not positions.requires_grad
    torch.testing.assert_close(positions, sinusoids(20, 16))
    angles = torch.tensor([7.0, 7.0, 7 / 10**0.5, 7 / 10**0.5])  # of position 7: 10,000 ** (2 / 16) is 10 ** 0.5
    expected = torch.stack([angles[0].sin(), angles[1].cos(), angles[2].sin(), angles[3].cos()])
    torch.testing.assert_close(positions[7, :4], expected)
    assert decoder.get_output_embeddings().weight is not decoder.get_input_embeddings().weight


def test_every_weight_takes_part(decoder, encoded):
    inputs = prefix(decoder, 6)
    hidden = decoder.base_model(inputs_embeds=inputs, **encoded.arguments()).last_hidden_state
    decoder.get_output_embeddings()(hidden).sum().backward()
    assert [name for name, weight in decoder.named_parameters() if weight.requires_grad and weight.grad is None] == []


def test_the_end_token_s_embedding_learns(decoder):
    assert decoder.get_input_embeddings().padding_idx is None


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"decoder\.config\.heads=3 must divide network\.width=16"):
        make_decoder(30, 16, 0, DecoderOptions(heads=3))
