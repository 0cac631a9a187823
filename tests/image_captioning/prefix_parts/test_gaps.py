"""Gaps in prefixes: each row is continued as it would be alone and without them, by any family of decoders."""

from __future__ import annotations

import pytest
import torch

from image_captioning.generation import Decoding, beam_hypotheses, generate, masked
from image_captioning.language_models import make_language_model

END, BANNED, WIDTH = 0, [1], 16
FAMILIES = {
    "gpt2": {"n_layer": 2, "n_embd": WIDTH, "n_head": 2, "n_positions": 32},
    "llama": {"num_hidden_layers": 2, "hidden_size": WIDTH, "num_attention_heads": 2, "num_key_value_heads": 1,
              "intermediate_size": 24, "max_position_embeddings": 32},
    "bloom": {"n_layer": 2, "hidden_size": WIDTH, "n_head": 2},
}  # fmt: skip
DECODINGS = [
    Decoding(max_new_tokens=9),
    Decoding("beam", beams=3, max_new_tokens=9),
    Decoding("nucleus", max_new_tokens=9, seed=1),
]


@pytest.fixture(params=FAMILIES)
def model(request):
    torch.manual_seed(0)
    model = make_language_model({"model_type": request.param, "vocab_size": 13, **FAMILIES[request.param]}).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(4 if weights.ndim > 1 else 1)  # varied words
    return model


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Prefixes (6, 7, W), and masks with gaps in the middle as soft and hard prompts have."""
    generator = torch.Generator().manual_seed(3)
    mask = torch.ones(6, 7, dtype=torch.bool)
    for row in range(5):
        mask[row, 2 : 2 + row] = False
    return torch.randn(6, 7, WIDTH, generator=generator), mask


@pytest.mark.parametrize("decoding", DECODINGS, ids=lambda decoding: decoding.label)
def test_rows_are_continued_as_alone_without_gaps(model, rows, decoding):
    prefix, mask = rows
    together = generate(model, prefix, decoding, END, BANNED, mask=mask)
    for row in range(6):
        alone = generate(model, prefix[row : row + 1, mask[row]], decoding, END, BANNED, first_row=row)[0]
        written = together[row]
        assert written[: len(alone)].tolist() == alone[: len(written)].tolist()
        assert (written[len(alone) :] == END).all() and (alone[len(written) :] == END).all()
    assert len({tuple(row.tolist()) for row in together}) > 2


def test_hypotheses_and_logits_are_those_without_gaps(model, rows):
    prefix, mask = rows
    _, scores = beam_hypotheses(model, prefix, DECODINGS[1], END, BANNED, 2, mask=mask)
    logits = model(inputs_embeds=prefix, **masked(model, mask)).logits
    for row in range(6):
        short = prefix[row : row + 1, mask[row]]
        _, alone = beam_hypotheses(model, short, DECODINGS[1], END, BANNED, 2)
        torch.testing.assert_close(scores[row], alone[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(logits[row, -1], model(inputs_embeds=short).logits[0, -1], atol=1e-4, rtol=1e-4)
