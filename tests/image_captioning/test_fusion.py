"""IFCap's fusion against a slow computation, head by head; how transformer mappers start."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from image_captioning.mappers import RetrievalFusion, make_mapper


@pytest.fixture
def fusion() -> RetrievalFusion:
    torch.manual_seed(0)
    fusion = RetrievalFusion(dim=6, width=8, prefix_length=3, layers=2, heads=2, embedding_tokens=4)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return fusion.eval()


def slow_prefix(fusion: RetrievalFusion, row: torch.Tensor, neighbors: torch.Tensor) -> torch.Tensor:
    """One embedding's prefix, loop by loop."""
    tokens = fusion.embed(row).reshape(4, 8)
    captions = torch.stack([fusion.embed_neighbors(neighbor) for neighbor in neighbors])
    weights, biases = fusion.attention.in_proj_weight.split(8), fusion.attention.in_proj_bias.split(8)
    outputs = []
    for token in tokens:
        query = weights[0] @ F.layer_norm(token, (8,), fusion.norm.weight, fusion.norm.bias) + biases[0]
        heads = []
        for head in (slice(0, 4), slice(4, 8)):
            keys = [(weights[1] @ caption + biases[1])[head] for caption in captions]
            values = [(weights[2] @ caption + biases[2])[head] for caption in captions]
            shares = torch.stack([query[head] @ key / math.sqrt(4) for key in keys]).softmax(0)
            heads.append(sum(share * value for share, value in zip(shares, values, strict=True)))
        token = token + fusion.attention.out_proj(torch.cat(heads))
        outputs.append(token + fusion.hidden(fusion.norm_hidden(token)))
    sequence = torch.cat([torch.stack(outputs), fusion.constants])
    return fusion.transformer(sequence[None])[0, 4:]


def test_the_prefix_equals_a_slow_computation(fusion):
    rows, neighbors = torch.randn(5, 6), torch.randn(5, 3, 6)
    slow = torch.stack([slow_prefix(fusion, row, near) for row, near in zip(rows, neighbors, strict=True)])
    torch.testing.assert_close(fusion(rows, neighbors), slow, rtol=1e-4, atol=1e-5)


def test_it_depends_on_all_inputs_but_not_on_the_order_of_captions(fusion):
    rows, neighbors = torch.randn(2, 6, requires_grad=True), torch.randn(2, 3, 6, requires_grad=True)
    prefix = fusion(rows, neighbors)
    assert prefix.shape == (2, 3, 8)
    (prefix * torch.randn_like(prefix)).sum().backward()
    assert (rows.grad != 0).all() and (neighbors.grad != 0).all()
    assert all(parameter.grad.abs().sum() > 0 for parameter in fusion.parameters())
    torch.testing.assert_close(fusion(rows, neighbors.flip(1)), prefix)


def test_it_is_for_captioners_that_retrieve_and_no_other_mapper_is():
    assert isinstance(make_mapper(6, 8, {"kind": "fusion", "layers": 1}, retrieves=True), RetrievalFusion)
    with pytest.raises(ValueError, match=r"kind=fusion looks at near captions, and there are none: choose parts=ifcap"):
        make_mapper(6, 8, {"kind": "fusion"})
    with pytest.raises(ValueError, match=r"kind=mlp does not look at the captions of parts\.retrieval"):
        make_mapper(6, 8, {"kind": "mlp"}, retrieves=True)


def test_each_layer_starts_from_weights_of_its_own():
    mapper = make_mapper(6, 8, {"kind": "transformer", "layers": 3, "heads": 2, "prefix_length": 4})
    first = [next(layer.parameters()) for layer in mapper.transformer.layers]
    assert len(first) == 3 and not any(torch.equal(a, b) for a, b in ((first[0], first[1]), (first[1], first[2])))
