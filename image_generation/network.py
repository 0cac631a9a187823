"""The network: diffusers' U-Net, conditioned on an embedding."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from common.checks import BelowOne, Count, checked_dataclass
from common.extras import require

TIMES = 1000  # the unit in which the U-Net embeds times


@checked_dataclass("network.")
class NetworkOptions:
    """Options of the U-Net.

    Attributes:
        channels: of every level; each level but the first has half the side of the one before.
        layers: residual blocks of a level on its way down; one more on its way up.
        attention: for each level, whether it attends over its places.
        head_channels: of an attention head.
        groups: of group normalization; all channels are multiples of it.
        patch: squares of so many pixels a side are taken together as channels, which makes the network faster by
            the square of it (arXiv 2207.04316).
        dropout: in the residual blocks.
    """

    channels: Annotated[list[Count], Field(min_length=2)]
    attention: list[bool]
    layers: Count = 2
    head_channels: Count = 32
    groups: Count = 16
    patch: Annotated[int, Field(ge=1)] = 1
    dropout: BelowOne = 0.0

    def check_side(self, side: int) -> None:
        """Raise ValueError unless pictures of `side` x `side` places divide into the levels."""
        if len(self.attention) != len(self.channels):
            raise ValueError(
                f"network.attention has {len(self.attention)} entries for the {len(self.channels)} levels of "
                "network.channels: give one for each"
            )
        if odd := [count for count in self.channels if count % self.groups]:
            raise ValueError(f"network.channels={odd[0]} is no multiple of network.groups={self.groups}")
        if odd := [
            count
            for count, attends in zip(self.channels, self.attention, strict=True)
            if attends and count % self.head_channels
        ]:
            raise ValueError(f"network.channels={odd[0]} is no multiple of network.head_channels={self.head_channels}")
        factor = self.patch * 2 ** (len(self.channels) - 1)
        if side % factor:
            raise ValueError(
                f"A side of {side} does not divide by {factor}, the network's patch of {self.patch} and its "
                f"{len(self.channels)} levels: change size, network.patch or the number of network.channels"
            )


class RowConditionedUNet(nn.Module):
    """A U-Net that reads an embedding beside the time, through scale and shift of its normalizations.

    Args:
        dim: D of the embeddings.
        planes: channels of the pictures: 3, or those of an autoencoder's latents.
        side: of the pictures.

    Raises:
        ImportError: diffusers is not installed.
        ValueError: the side does not divide.
    """

    def __init__(self, dim: int, planes: int, side: int, options: NetworkOptions):
        super().__init__()
        options.check_side(side)
        require("diffusers")
        from diffusers import UNet2DModel  # pyright: ignore[reportPrivateImportUsage]

        self.dim, self.patch = dim, options.patch
        width = 4 * options.channels[0]  # that of the U-Net's time embedding
        self.read_row = nn.Sequential(nn.Linear(dim, width), nn.SiLU(), nn.Linear(width, width))
        self.unet = UNet2DModel(
            sample_size=side // options.patch,
            in_channels=planes * options.patch**2,
            out_channels=planes * options.patch**2,
            block_out_channels=tuple(options.channels),
            layers_per_block=options.layers,
            down_block_types=tuple("AttnDownBlock2D" if attends else "DownBlock2D" for attends in options.attention),
            up_block_types=tuple("AttnUpBlock2D" if attends else "UpBlock2D" for attends in options.attention[::-1]),
            attention_head_dim=options.head_channels,
            norm_num_groups=options.groups,
            dropout=options.dropout,
            resnet_time_scale_shift="scale_shift",
            class_embed_type="identity",
        )

    def forward(self, states: Tensor, times: Tensor, rows: Tensor) -> Tensor:
        """Velocities like `states` (B, C, S, S), at `times` (B,) in [0, 1], for unit rows (B, D), or zeros for none."""
        row = self.read_row(self.dim**0.5 * rows)
        inputs = F.pixel_unshuffle(states, self.patch) if self.patch > 1 else states
        outputs = self.unet(inputs, TIMES * times, class_labels=row).sample
        return F.pixel_shuffle(outputs, self.patch) if self.patch > 1 else outputs
