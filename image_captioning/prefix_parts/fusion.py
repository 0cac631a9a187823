"""IFCap's mapper: an embedding looks at the captions that are near it before it becomes a prefix."""

from __future__ import annotations

from torch import Tensor, nn

from common.checks import Count, checked_options
from image_captioning.mappers import TransformerMapper


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
