"""Caption tokens: ragged storage, padding, and bad input."""

import pytest
import torch

from image_captioning.data import CaptionTokens, check_finite
from image_captioning.tokenizer import END, train_tokenizer

CAPTIONS = ["a dog", "a dog and a cat", "a cat on a mat on a dog"]
TOKENIZER = train_tokenizer(CAPTIONS)


def test_batches_hold_the_captions_their_end_tokens_and_padding():
    data = CaptionTokens.encode(CAPTIONS, TOKENIZER, 20)
    assert len(data) == 3 and data.lengths.tolist() == [3, 6, 9]
    tokens, mask = data.batch(torch.tensor([1, 0, 1]))
    assert tokens.shape == mask.shape == (3, 6) and tokens.dtype == torch.int64
    for row, number in enumerate((1, 0, 1)):
        ids = [*TOKENIZER(CAPTIONS[number]).input_ids, TOKENIZER.eos_token_id]
        assert tokens[row][mask[row]].tolist() == ids
        assert (tokens[row][~mask[row]] == TOKENIZER.pad_token_id).all()
    assert data.batch(torch.tensor([0]), width=8)[0].shape == (1, 8)
    assert data.batch(torch.tensor([2]), width=12)[1].sum() == 9


def test_long_captions_are_refused_or_cut_with_a_warning_and_without_an_end():
    assert len(CaptionTokens.encode(CAPTIONS, TOKENIZER, 9)) == 3
    with pytest.raises(ValueError, match="2 captions have more than max_tokens=5 tokens; the longest, row 2, has 9"):
        CaptionTokens.encode(CAPTIONS, TOKENIZER, 5)
    with pytest.warns(UserWarning, match=r"2 of 3 captions were cut to decoder\.max_tokens=5"):
        data = CaptionTokens.encode(CAPTIONS, TOKENIZER, 5, truncate=True)
    tokens, _ = data.batch(torch.arange(3))
    assert tokens[2].tolist() == TOKENIZER(CAPTIONS[2]).input_ids[:5]
    assert tokens[0].tolist() == [*TOKENIZER("a dog").input_ids, 0, 0, 0]


@pytest.mark.parametrize("bad", ["", "  ", "\n"])
def test_an_empty_caption_names_its_row(bad):
    with pytest.raises(ValueError, match="Caption 1 of the split is empty"):
        CaptionTokens.encode(["a dog", bad], TOKENIZER, 9)


def test_the_end_token_in_a_caption_names_its_row():
    with pytest.raises(ValueError, match="Caption 2 of the split contains the end token"):
        CaptionTokens.encode(["a dog", "a cat", f"a {END} dog"], TOKENIZER, 9)


def test_rows_that_are_not_finite_are_named():
    rows = torch.ones(4, 3)
    assert check_finite(rows, "the rows") is rows
    rows[2, 1] = torch.inf
    rows[3, 0] = torch.nan
    with pytest.raises(ValueError, match=r"Row 2 of the rows is not finite \(2 such rows\)"):
        check_finite(rows, "the rows")
