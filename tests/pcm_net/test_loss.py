"""The CLIP weights and the authors' label smoothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pcm_net.loss import clip_weights, spread_over_others


def test_weights_are_scaled_cosines_between_0_and_1():
    images = torch.tensor([[2.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    texts = torch.tensor([[3.0, 0.0], [0.3, (1 - 0.09) ** 0.5], [0.0, 1.0], [-1.0, 0.0]])
    torch.testing.assert_close(clip_weights(images, texts, 2.5), torch.tensor([1.0, 0.75, 0.0, 0.0]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_smoothing_leaves_the_share_on_the_right_token_and_spreads_the_rest_over_the_others(smoothing):
    logits, right = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)), torch.arange(5)
    target = torch.full((5, 7), smoothing / 6).scatter(1, right[:, None], 1 - smoothing)
    expected = -(target * logits.log_softmax(dim=-1)).sum(dim=-1)
    smoothed = F.cross_entropy(logits, right, reduction="none", label_smoothing=spread_over_others(smoothing, 7))
    torch.testing.assert_close(smoothed, expected)
