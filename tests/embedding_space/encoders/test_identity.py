"""Two descriptions are of one encoder where their embeddings are the same."""

from __future__ import annotations

import pytest

from embedding_space.encoders.identity import describe_encoder, is_same_encoder

CLIP = {"name": "clip", "model": "ViT-B-32-quickgelu", "pretrained": "openai", "precision": "fp32"}
HEADS = {"name": "photo", "kind": "towers", "heads": "here", "sha256": "1" * 64}
TOWERS = {"name": "photo", "kind": "towers", "image_tower": {"model": "vit"}, "text_tower": {"model": "bert"}}


@pytest.mark.parametrize(
    ("encoder", "change"),
    [
        (CLIP, {"name": "mine"}),
        (CLIP, {"precision": "bf16"}),
        (CLIP, {"kind": "imported", "files": {"train": {"file": "a.pkl", "sha256": "2"}}}),
        (CLIP, {"sha256": None}),
        (HEADS, {"heads": "elsewhere"}),
        ({**CLIP, "pretrained": "a/weights.pt", "sha256": "1"}, {"pretrained": "b/weights.pt"}),
        ({**CLIP, "model": "local-dir:a", "sha256": "1"}, {"model": "local-dir:/b/encoder"}),
        (TOWERS, {"precision": "fp16"}),
    ],
)
def test_what_embeddings_do_not_depend_on_makes_no_other_encoder(encoder, change):
    assert is_same_encoder(encoder, {**encoder, **change})


@pytest.mark.parametrize(
    ("encoder", "change"),
    [
        (CLIP, {"model": "ViT-B-32"}),
        (CLIP, {"pretrained": "laion2b"}),
        (CLIP, {"sha256": "1"}),
        (HEADS, {"sha256": "2" * 64}),
        ({**CLIP, "model": "local-dir:a", "sha256": "1"}, {"sha256": "2"}),
        ({**CLIP, "model": "local-dir:a"}, {"model": "local-dir:b"}),
        (TOWERS, {"text_tower": {"model": "gpt"}}),
        (TOWERS, {"image_tower": {"model": "vit", "resize": "pad"}}),
    ],
)
def test_other_weights_and_towers_make_another_encoder(encoder, change):
    assert not is_same_encoder(encoder, {**encoder, **change})


def test_an_encoder_is_described_by_what_counts():
    assert describe_encoder(CLIP) == "clip (model ViT-B-32-quickgelu, pretrained openai)"
    assert describe_encoder({}) == "an encoder ()"
