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
        reads_neighbors: whether it takes near captions (B, K, D), too.
    """

    prefix_length: int
    reads_neighbors = False


class MLPMapper(Mapper):
    """Embedding (B, D) -> tanh hidden layer -> prefix (B, prefix_length, width).

    ClipCap's MLP, arXiv 2111.09734, section 3.3: with D = 512, width 768 and 10 prefix tokens, 512 -> 3840 -> 7680.

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

    ClipCap's transformer mapper, arXiv 2111.09734, section 3.3; CapDec (arXiv 2211.00575) uses 8 layers and 40 tokens.

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
        self.constants = nn.Parameter(torch.randn(prefix_length, width))
        made = [
            nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, norm_first=True, batch_first=True)
            for _ in range(layers)
        ]
        self.transformer = nn.TransformerEncoder(made[0], layers, enable_nested_tensor=False)
        self.transformer.layers = nn.ModuleList(made)  # it would copy the first one, initial weights included

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


class RetrievalFusion(TransformerMapper):
    """Embedding (B, D) and K near captions (B, K, D) -> prefix (B, prefix_length, width).

    IFCap, arXiv 2409.18046, section 3.2, and its code: the embedding becomes `embedding_tokens` tokens, which look at
    the captions, a token each, by one layer of cross-attention; a transformer with learned constants follows, as in
    `TransformerMapper`. The layer normalizes its queries but not the captions, and its hidden layer is twice as wide.
    """

    reads_neighbors = True

    @checked_options("decoder.mapper.")
    def __init__(
        self,
        dim: int,
        width: int,
        prefix_length: Count = 10,
        layers: Count = 8,
        heads: Count = 8,
        embedding_tokens: Count | None = None,
    ):
        super().__init__(dim, width, prefix_length, layers, heads, embedding_tokens)
        self.embed_neighbors = nn.Linear(dim, width)
        self.norm, self.norm_hidden = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.hidden = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, embeddings: Tensor, neighbors: Tensor) -> Tensor:
        tokens = self.embed(embeddings).unflatten(-1, (-1, self.constants.shape[-1]))  # (B, E, W)
        captions = self.embed_neighbors(neighbors)  # (B, K, W)
        tokens = tokens + self.attention(self.norm(tokens), captions, captions, need_weights=False)[0]
        tokens = tokens + self.hidden(self.norm_hidden(tokens))
        return self.prefix_of(tokens)


MAPPERS: dict[str, type[Mapper]] = {
    "mlp": MLPMapper,
    "transformer": TransformerMapper,
    "linear": LinearMapper,
    "fusion": RetrievalFusion,
}


def make_mapper(dim: int, width: int, options: Mapping, retrieves: bool = False) -> Mapper:
    """The mapper that `options["kind"]` names; the other options are its arguments.

    Args:
        retrieves: whether there are near captions for it.

    Raises:
        ValueError: an unknown kind or option, or one that does not go with `retrieves`.
    """
    options = dict(options)
    mapper = mapper_type(options.pop("kind", None), retrieves)
    return mapper(dim, width, **options)


def mapper_type(kind: str | None, retrieves: bool) -> type[Mapper]:
    """The class of a kind of mapper; arguments and errors as of `make_mapper`."""
    mapper = look_up(kind, MAPPERS, "mapper", "decoder.mapper.kind")
    if mapper.reads_neighbors and not retrieves:
        raise ValueError(
            f"decoder.mapper.kind={kind} looks at near captions, and there are none: choose parts=ifcap, or another "
            "mapper"
        )
    if retrieves and not mapper.reads_neighbors:
        raise ValueError(
            f"decoder.mapper.kind={kind} does not look at the captions of parts.retrieval: set it to fusion, or "
            "parts.retrieval to null"
        )
    return mapper
