"""The visual-semantic encoder: an image's row and its mixed-up patches, encoded for the decoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.checks import BelowOne, Count, checked_dataclass
from image_captioning.generation import EncodedImages
from pcm_net.mixup import MixedPatches

EPSILON = 1e-12  # of layer normalization, as in BERT and the authors' code


@checked_dataclass("network.")
class NetworkOptions:
    """The size of the encoder; the authors' values.

    Attributes:
        width: of the states; `heads` must divide it.
        layers: N_e.
        dropout: of the blocks.
        attention_dropout: of attention weights.
        input_dropout: of the embedded tokens.
    """

    width: Count = 512
    layers: Count = 3
    heads: Count = 8
    feedforward: Count = 2048
    dropout: BelowOne = 0.2
    attention_dropout: BelowOne = 0.3
    input_dropout: BelowOne = 0.5

    def __post_init__(self):
        if self.width % self.heads:
            raise ValueError(f"network.heads={self.heads} must divide network.width={self.width}")


class VisualSemanticEncoder(nn.Module):
    """PCM-Net's encoder (Luo et al. 2024, section 3.3, equations 4 to 7) over a global row and N patches.

    Post-LN transformer blocks. In training the selected patches are replaced by their words. At inference the words are
    appended, at the positions of their patches.

    Args:
        dim: D of global rows and of words.
        patch_width: W of the patches' features.
        patches: N.
        options: see `NetworkOptions`.
    """

    def __init__(self, dim: int, patch_width: int, patches: int, options: NetworkOptions):
        super().__init__()
        width, self.patches = options.width, patches
        self.embed_global, self.embed_words = nn.Linear(dim, width), nn.Linear(dim, width)
        self.embed_patches = nn.Linear(patch_width, width)
        self.positions = nn.Parameter(torch.empty(1 + patches, width))
        self.types = nn.Parameter(torch.empty(2, width))  # visual, word
        for parameter in (self.positions, self.types):
            nn.init.trunc_normal_(parameter, std=0.02)
        self.norm, self.dropout = nn.LayerNorm(width, eps=EPSILON), nn.Dropout(options.input_dropout)
        self.blocks = nn.ModuleList(_block(options) for _ in range(options.layers))
        self.fuse = nn.Linear((options.layers + 1) * width, width, bias=False)  # W_g of equation 6
        self.fuse_norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, rows: Tensor, features: Tensor, mixed: MixedPatches) -> EncodedImages:
        """Encode B images.

        Args:
            rows: (B, D) global rows.
            features: (B, N, W) of the patches.
            mixed: which patches give way to which words.

        Returns:
            States (B, S, width): the fused global state, then the patches; S is 1 + N in training.
        """
        visual, words = self.embed_patches(features), self.embed_words(mixed.text_map)
        first = self.embed_global(rows)[:, None] + self.positions[0] + self.types[0]
        if self.training:
            chosen = mixed.selected[..., None]
            patches = torch.where(chosen, words + self.types[1], visual + self.types[0]) + self.positions[1:]
            tokens, mask = torch.cat([first, patches], dim=1), None
        else:
            places, seen = _selected_places(mixed.selected)  # the hidden ones would change nothing
            appended = words.gather(1, places[..., None].expand(-1, -1, words.shape[-1]))
            appended = appended + self.positions[1:][places] + self.types[1]
            patches = visual + self.types[0] + self.positions[1:]
            tokens = torch.cat([first, patches, appended], dim=1)
            mask = torch.cat([seen.new_ones(len(rows), 1 + self.patches), seen], dim=1)
        states = self.dropout(self.norm(F.relu(tokens)))
        hidden = None if mask is None else ~mask
        global_states = [states[:, 0]]
        for block in self.blocks:
            states = block(states, src_key_padding_mask=hidden)
            global_states.append(states[:, 0])
        fused = self.fuse_norm(self.fuse(torch.cat(global_states, dim=-1)))[:, None]
        return EncodedImages(torch.cat([fused, states[:, 1:]], dim=1), mask)


def _block(options: NetworkOptions) -> nn.TransformerEncoderLayer:
    """A post-LN block with ReLU (equation 5)."""
    block = nn.TransformerEncoderLayer(
        options.width,
        options.heads,
        options.feedforward,
        options.dropout,
        layer_norm_eps=EPSILON,
        batch_first=True,
    )
    block.self_attn.dropout = options.attention_dropout
    return block


def _selected_places(selected: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N) bool -> (B, most) int64 positions of each row's selected patches, and (B, most) bool which of them are."""
    most = int(selected.sum(dim=1).max()) if len(selected) else 0
    seen, places = selected.to(torch.uint8).sort(dim=1, descending=True, stable=True)
    return places[:, :most], seen[:, :most].bool()
