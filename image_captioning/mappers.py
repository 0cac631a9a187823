"""Mappers: from one aligned embedding to the prefix that a language model reads before the caption."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from common.checks import Count, checked_options
from common.registry import look_up


class Mapper(nn.Module):
    """Base of all mappers: embeddings (B, D) -> prefixes (B, P, W).

    Attributes:
        prefix_length: P.
    """

    prefix_length: int


class MLPMapper(Mapper):
    """Embedding (B, D) -> tanh hidden layer -> prefix (B, prefix_length, width).

    ClipCap's MLP, arXiv 2111.09734, section 3.2: with D = 512, width 768 and 10 prefix tokens, 512 -> 3840 -> 7680.

    Args:
        hidden: width of the hidden layer; by default half of prefix_length * width.
    """

    @checked_options("decoder.mapper.")
    def __init__(self, dim: int, width: int, prefix_length: Count = 10, hidden: Count | None = None):
        super().__init__()
        self.prefix_length = prefix_length
        hidden = hidden or prefix_length * width // 2
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.Tanh(), nn.Linear(hidden, prefix_length * width))

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.layers(embeddings).unflatten(-1, (self.prefix_length, -1))  # (B, P, W)


class TransformerMapper(Mapper):
    """Embedding (B, D) -> tokens, with learned constants -> a transformer; the constants' outputs are the prefix.

    ClipCap's transformer mapper, arXiv 2111.09734, section 3.2; CapDec (arXiv 2211.00575) uses 8 layers and 40 tokens.

    Args:
        embedding_tokens: tokens that the embedding becomes at the transformer's input; by default prefix_length.
    """

    @checked_options("decoder.mapper.")
    def __init__(
        self,
        dim: int,
        width: int,
        prefix_length: Count = 40,
        layers: Count = 8,
        heads: Count = 8,
        embedding_tokens: Count | None = None,
    ):
        super().__init__()
        if width % heads:
            raise ValueError(f"decoder.mapper.heads={heads} must divide the decoder's width {width}")
        self.prefix_length = prefix_length
        self.embed = nn.Linear(dim, (embedding_tokens or prefix_length) * width)
        self.constants = nn.Parameter(0.02 * torch.randn(prefix_length, width))
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, norm_first=True, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.prefix_of(self.embed(embeddings).unflatten(-1, (-1, self.constants.shape[-1])))

    def prefix_of(self, tokens: Tensor) -> Tensor:
        """Tokens (B, E, W) -> the constants' outputs (B, P, W)."""
        constants = self.constants.expand(len(tokens), -1, -1)  # (B, P, W)
        return self.transformer(torch.cat([tokens, constants], dim=1))[:, -self.prefix_length :]


class LinearMapper(Mapper):
    """Embedding (B, D) -> prefix (B, prefix_length, width) by one linear layer.

    With one token it is DeCap's, arXiv 2303.03032.
    """

    @checked_options("decoder.mapper.")
    def __init__(self, dim: int, width: int, prefix_length: Count = 1):
        super().__init__()
        self.prefix_length = prefix_length
        self.layer = nn.Linear(dim, prefix_length * width)

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.layer(embeddings).unflatten(-1, (self.prefix_length, -1))  # (B, P, W)


MAPPERS = {"mlp": MLPMapper, "transformer": TransformerMapper, "linear": LinearMapper}


def make_mapper(dim: int, width: int, options: Mapping) -> Mapper:
    """The mapper that `options["kind"]` names; the other options are its arguments.

    Raises:
        ValueError: an unknown kind or option.
    """
    options = dict(options)
    mapper = look_up(options.pop("kind", None), MAPPERS, "mapper", "decoder.mapper.kind")
    return mapper(dim, width, **options)
