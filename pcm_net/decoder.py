"""The sentence decoder: post-LN BERT blocks that look at the encoder's states while they write."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers import BertGenerationConfig, BertGenerationDecoder

from common.checks import BelowOne, Count, checked_dataclass
from pcm_net.encoder import EPSILON


@checked_dataclass("decoder.config.")
class DecoderOptions:
    """The size of the decoder; the authors' values. Its width is the encoder's.

    Attributes:
        layers: N_d.
        max_positions: the longest caption with its end token.
        dropout: of the blocks.
        attention_dropout: of attention weights.
        embedding_dropout: of the embedded words.
        output_dropout: before the output layer.
    """

    layers: Count = 3
    heads: Count = 8
    feedforward: Count = 2048
    max_positions: Count = 64
    dropout: BelowOne = 0.2
    attention_dropout: BelowOne = 0.3
    embedding_dropout: BelowOne = 0.1
    output_dropout: BelowOne = 0.5


def make_decoder(vocabulary: int, width: int, end: int, options: DecoderOptions) -> BertGenerationDecoder:
    """A new decoder (Luo et al. 2024, section 3.3, equation 8) with fixed sinusoidal positions and an untied output.

    Args:
        vocabulary: the number of tokens.
        width: of the encoder's states.
        end: the token that ends a caption and begins it, too.

    Raises:
        ValueError: the heads do not divide the width.
    """
    if width % options.heads:
        raise ValueError(f"decoder.config.heads={options.heads} must divide network.width={width}")
    config = BertGenerationConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        intermediate_size=options.feedforward,
        hidden_act="relu",
        hidden_dropout_prob=options.dropout,
        attention_probs_dropout_prob=options.attention_dropout,
        max_position_embeddings=options.max_positions,
        layer_norm_eps=EPSILON,
        is_decoder=True,
        add_cross_attention=True,
        tie_word_embeddings=False,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=None,  # else the end token's embedding would not learn
    )
    decoder = BertGenerationDecoder(config)
    head: Any = decoder.lm_head
    head.bias = head.decoder.bias  # transformers >= 5 has a second one, unused, which several processes would wait for
    embeddings: Any = decoder.base_model.embeddings
    embeddings.dropout.p = options.embedding_dropout
    embeddings.position_embeddings.weight.requires_grad_(False).copy_(sinusoids(options.max_positions, width))
    return decoder


def sinusoids(positions: int, width: int) -> Tensor:
    """(positions, width) sinusoidal position embeddings (Vaswani et al. 2017, section 3.5)."""
    angles = torch.arange(positions)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
    table = torch.empty(positions, width)
    table[:, 0::2], table[:, 1::2] = angles.sin(), angles.cos()[:, : width // 2]
    return table
