"""The visual-semantic encoder against the paper's equations, one image at a time."""

from __future__ import annotations

import pytest
import torch

from pcm_net.encoder import NetworkOptions, VisualSemanticEncoder
from pcm_net.mixup import MixedPatches

SIZE = {"width": 16, "layers": 2, "heads": 2, "feedforward": 24}
DRY = {"dropout": 0.0, "attention_dropout": 0.0, "input_dropout": 0.0}
DIM, WIDTH, PATCHES = 6, 10, 5


@pytest.fixture
def encoder() -> VisualSemanticEncoder:
    torch.manual_seed(0)
    return VisualSemanticEncoder(DIM, WIDTH, PATCHES, NetworkOptions(**SIZE, **DRY))


def batch(count: int = 4) -> tuple[torch.Tensor, torch.Tensor, MixedPatches]:
    generator = torch.Generator().manual_seed(1)
    rows, features, words = (
        torch.randn(*shape, generator=generator)
        for shape in ((count, DIM), (count, PATCHES, WIDTH), (count, PATCHES, DIM))
    )
    selected = torch.rand(count, PATCHES, generator=generator) < 0.4
    selected[0] = False
    return rows, features, MixedPatches(words, selected, torch.zeros(count, 1, dtype=torch.long))


def attend(block, states):
    """Equation 4: multi-head attention without a mask, from the block's weights."""
    attention, width = block.self_attn, states.shape[-1]
    queries, keys, values = (
        part.view(len(states), attention.num_heads, -1).transpose(0, 1)
        for part in (states @ attention.in_proj_weight.T + attention.in_proj_bias).split(width, dim=-1)
    )
    weights = (queries @ keys.transpose(1, 2) / (width / attention.num_heads) ** 0.5).softmax(dim=-1)
    return attention.out_proj((weights @ values).transpose(0, 1).reshape(len(states), width))


def by_equations(encoder, tokens):
    """Equations 5 to 7 for one image's tokens (S, width), and the states that they become."""
    states = torch.relu(tokens)
    states = encoder.norm(states)
    global_states = [states[0]]
    for block in encoder.blocks:
        states = block.norm1(states + attend(block, states))
        states = block.norm2(states + block.linear2(torch.relu(block.linear1(states))))
        global_states.append(states[0])
    fused = encoder.fuse_norm(encoder.fuse(torch.cat(global_states)))
    return torch.cat([fused[None], states[1:]])


def tokens_of(encoder, row, features, words, selected, append: bool):
    """One image's tokens: its global row, its patches, and words in their place or after them."""
    visual, word = encoder.embed_patches(features) + encoder.types[0], encoder.embed_words(words) + encoder.types[1]
    tokens = [encoder.embed_global(row) + encoder.types[0] + encoder.positions[0]]
    for place in range(PATCHES):
        chosen = word[place] if selected[place] and not append else visual[place]
        tokens.append(chosen + encoder.positions[1 + place])
    if append:
        tokens += [word[place] + encoder.positions[1 + place] for place in range(PATCHES) if selected[place]]
    return torch.stack(tokens)


@pytest.mark.parametrize("training", [True, False])
def test_states_are_those_of_the_equations(encoder, training):
    encoder.train(training)
    rows, features, mixed = batch()
    with torch.no_grad():
        encoded = encoder(rows, features, mixed)
        for row in range(len(rows)):
            parts = (rows[row], features[row], mixed.text_map[row], mixed.selected[row])
            expected = by_equations(encoder, tokens_of(encoder, *parts, append=not training))
            seen = encoded.states[row] if encoded.mask is None else encoded.states[row][encoded.mask[row]]
            torch.testing.assert_close(seen, expected, atol=1e-5, rtol=1e-4)


def test_without_a_mix_up_training_and_inference_read_the_same(encoder):
    rows, features, mixed = batch()
    mixed = mixed._replace(selected=torch.zeros_like(mixed.selected))
    trained = encoder.train()(rows, features, mixed)
    inferred = encoder.eval()(rows, features, mixed)
    torch.testing.assert_close(trained.states, inferred.states)


def test_an_image_s_states_do_not_depend_on_its_batch(encoder):
    rows, features, mixed = batch()
    encoder.eval()
    with torch.no_grad():
        whole = encoder(rows, features, mixed)
        for row in range(len(rows)):
            one = slice(row, row + 1)
            alone = encoder(rows[one], features[one], MixedPatches(*(part[one] for part in mixed)))
            torch.testing.assert_close(alone.states[0], whole.states[row][whole.mask[row]], atol=1e-5, rtol=1e-4)


def test_the_global_state_learns_from_every_block(encoder):
    rows, features, mixed = batch()
    encoder(rows, features, mixed).states[:, 0].sum().backward()
    assert encoder.fuse.weight.grad.view(16, 3, 16).abs().sum(dim=(0, 2)).min() > 0


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"network\.heads=3 must divide network\.width=16"):
        NetworkOptions(width=16, heads=3)
