"""Tokenizers: what goes in comes out, and what the specials do."""

import pytest

from image_captioning.tokenizer import END, UNKNOWN, load_tokenizer, make_tokenizer, train_tokenizer

CORPUS = ["A dog's (big) red-ball, near a “tree”.", "two cats and a dog!", "un été à Zürich"]


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_decoding_gives_the_text_back(kind):
    tokenizer = train_tokenizer(CORPUS, kind, lowercase=False)
    for text in CORPUS:
        ids = tokenizer(text).input_ids
        assert tokenizer.decode([*ids, tokenizer.eos_token_id], skip_special_tokens=True).strip() == text
    folded = train_tokenizer(CORPUS, kind)
    assert folded("A  DOG").input_ids == folded("a dog").input_ids


def test_unknown_words_are_one_token_for_words_and_spelt_for_bpe():
    word = train_tokenizer(CORPUS, "word")
    ids = word("a zebra, and a dog").input_ids
    assert ids.count(word.unk_token_id) == 1
    assert word.decode(ids, skip_special_tokens=True).strip() == "a, and a dog"
    bpe = train_tokenizer(CORPUS, "bpe")
    assert bpe.unk_token_id is None
    assert bpe.decode(bpe("犬 zebra").input_ids).strip() == "犬 zebra"


def test_size_keeps_the_most_frequent_words():
    tokenizer = train_tokenizer(["a b", "a b", "a c"], size=4)
    assert set(tokenizer.get_vocab()) == {END, UNKNOWN, "▁a", "▁b"}


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_saved_and_loaded_it_is_the_same(kind, tmp_path):
    tokenizer = train_tokenizer(CORPUS, kind)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded(CORPUS).input_ids == tokenizer(CORPUS).input_ids
    assert (loaded.pad_token, loaded.eos_token, loaded.unk_token) == (END, END, tokenizer.unk_token)


def test_training_twice_gives_the_same_tokens():
    for kind in ("word", "bpe"):
        assert train_tokenizer(CORPUS, kind).get_vocab() == train_tokenizer(CORPUS, kind).get_vocab()


def test_options_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"decoder\.tokenizer\.kind='char' must be 'word' or 'bpe'"):
        make_tokenizer({"kind": "char"}, CORPUS)
    with pytest.raises(ValueError, match=r"no option decoder\.tokenizer\.vocabulary=3"):
        make_tokenizer({"kind": "word", "vocabulary": 3}, CORPUS)
    with pytest.raises(ValueError, match=r"remove \['size'\]"):
        make_tokenizer({"name": "gpt2", "size": 5}, CORPUS)
    with pytest.raises(ValueError, match="cannot be read"):
        make_tokenizer({"name": str(tmp_path)}, CORPUS)
