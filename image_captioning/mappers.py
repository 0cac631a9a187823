"""Mappers: from one aligned embedding to the prefix that a language model reads before the caption."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from common.registry import look_up


class MLPMapper(nn.Module):
    """Embedding (B, D) -> tanh hidden layer -> prefix (B, prefix_length, width).

    ClipCap's MLP, arXiv 2111.09734, section 3.2: with D = 512, width 768 and 10 prefix tokens, 512 -> 3840 -> 7680.

    Args:
        hidden: width of the hidden layer; by default half of prefix_length * width.
    """

    def __init__(self, dim: int, width: int, prefix_length: int = 10, hidden: int | None = None):
        super().__init__()
        self.prefix_length = prefix_length
        hidden = hidden or prefix_length * width // 2
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.Tanh(), nn.Linear(hidden, prefix_length * width))

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.layers(embeddings).unflatten(-1, (self.prefix_length, -1))  # (B, P, W)


class TransformerMapper(nn.Module):
    """Embedding (B, D) -> tokens beside learned constants -> a transformer; the constants' outputs are the prefix.

    ClipCap's transformer mapper, arXiv 2111.09734, section 3.2; CapDec (arXiv 2211.00575) uses 8 layers and 40 tokens.

    Args:
        embedding_tokens: tokens that the embedding becomes at the transformer's input; by default prefix_length.
    """

    def __init__(
        self,
        dim: int,
        width: int,
        prefix_length: int = 40,
        layers: int = 8,
        heads: int = 8,
        embedding_tokens: int | None = None,
    ):
        super().__init__()
        if width % heads:
            raise ValueError(f"heads={heads} (option decoder.mapper.heads) must divide the decoder's width {width}")
        self.prefix_length = prefix_length
        self.embed = nn.Linear(dim, (embedding_tokens or prefix_length) * width)
        self.constants = nn.Parameter(0.02 * torch.randn(prefix_length, width))
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, norm_first=True, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, embeddings: Tensor) -> Tensor:
        constants = self.constants.expand(len(embeddings), -1, -1)  # (B, P, W)
        tokens = self.embed(embeddings).unflatten(-1, (-1, constants.shape[-1]))  # (B, E, W)
        return self.transformer(torch.cat([tokens, constants], dim=1))[:, -self.prefix_length :]


class LinearMapper(nn.Module):
    """Embedding (B, D) -> prefix (B, prefix_length, width) by one linear layer.

    DeCap's, arXiv 2303.03032, has one token.
    """

    def __init__(self, dim: int, width: int, prefix_length: int = 1):
        super().__init__()
        self.prefix_length = prefix_length
        self.layer = nn.Linear(dim, prefix_length * width)

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.layer(embeddings).unflatten(-1, (self.prefix_length, -1))  # (B, P, W)


MAPPERS = {"mlp": MLPMapper, "transformer": TransformerMapper, "linear": LinearMapper}


def make_mapper(dim: int, width: int, options: Mapping) -> nn.Module:
    """The mapper `options['kind']` with the other options; ValueError names an unknown kind or option."""
    options = dict(options)
    kind = options.pop("kind", None)
    mapper = look_up(kind, MAPPERS, "mapper", "decoder.mapper.kind")
    if options.get("prefix_length", 1) < 1:
        raise ValueError(
            f"prefix_length={options['prefix_length']} must be at least 1 (option decoder.mapper.prefix_length)"
        )
    try:
        return mapper(dim, width, **options)
    except TypeError as error:
        raise ValueError(f"The mapper {kind} does not take the options {options}: {error}") from error
