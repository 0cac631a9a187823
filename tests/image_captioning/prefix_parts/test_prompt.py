"""The hard prompt: its tokens are those of the sentence, for several tokenizers."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, trainers
from transformers import PreTrainedTokenizerFast

from image_captioning.prefix_parts.prompt import HardPrompt
from image_captioning.tokenizer import train_tokenizer

NAMES = ["dog", "hot dog", "t-shirt", "café", "Ball", "unknown"]
TEXT = ["There are something in image.", "a dog, a hot dog and a t-shirt", "two dogs at a café", "a Ball"] * 5
WORDS = torch.tensor([[0, 1, -1], [-1, -1, -1], [-1, 4, 2], [3, -1, 5], [5, 1, 2]])


def sentence(words: list[int]) -> str:
    return f"There are {', '.join(NAMES[word] for word in words if word >= 0) or 'something'} in image."


def sentence_pieces() -> PreTrainedTokenizerFast:
    """As Llama's: pieces of text whose spaces are ▁, without words cut before."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Metaspace()
    words = [f"▁{word}" for text in TEXT for word in text.split()]
    tokenizer.train_from_iterator(words, trainers.BpeTrainer(special_tokens=["<unk>"], show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


@pytest.mark.parametrize("kind", ["word", "bpe", "cased", "sentencepiece"])
def test_tokens_are_those_of_the_whole_sentence(kind):
    options = {"word": {}, "bpe": {"kind": "bpe", "size": 300}, "cased": {"kind": "bpe", "lowercase": False}}
    tokenizer = sentence_pieces() if kind == "sentencepiece" else train_tokenizer(TEXT, **options[kind])
    prompt = HardPrompt.of(NAMES, tokenizer, 3)
    tokens, mask = prompt(WORDS)
    expected = [tokenizer(sentence(row), add_special_tokens=False).input_ids for row in WORDS.tolist()]
    assert [row[there].tolist() for row, there in zip(tokens, mask, strict=True)] == expected
    assert tokens.shape[1] == max(map(len, expected)) <= prompt.longest
    assert all(row.tolist() == sorted(row.tolist()) for row in mask)  # padding is on the left


def test_the_longest_prompt_is_that_of_the_longest_names_or_of_none():
    tokenizer = train_tokenizer(TEXT)
    assert HardPrompt.of(NAMES, tokenizer, 2).longest == len(
        tokenizer("There are t-shirt, t-shirt in image.").input_ids
    )
    [no_words] = HardPrompt.of(["dog"], tokenizer, 1)(torch.tensor([[-1]]))[0]
    assert len(no_words) == len(tokenizer("There are something in image.").input_ids)


def test_a_prompt_that_is_loaded_needs_no_tokenizer():
    prompt = HardPrompt.of(NAMES, train_tokenizer(TEXT), 3)
    loaded = HardPrompt(len(NAMES), prompt.tokens.shape[1], prompt.longest)
    loaded.load_state_dict(prompt.state_dict())
    for ours, theirs in zip(loaded(WORDS), prompt(WORDS), strict=True):
        assert torch.equal(ours, theirs)
