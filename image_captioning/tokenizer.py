"""Tokenizers: trained on the caption corpus, or loaded by name or folder.

All follow GPT-2's rule: a caption ends with the tokenizer's end token, which also pads. A chat model's ends a turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, cast

from pydantic import SkipValidation
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from common.characters import one_line
from common.checks import Count, checked_options
from common.errors import MissingFolder
from image_captioning.hub import WITHOUT_WEIGHTS, find_hub_folder

END = "<|endoftext|>"
UNKNOWN = "<unk>"


@checked_options("decoder.tokenizer.")
def train_tokenizer(
    captions: SkipValidation[Iterable[str]],
    kind: Literal["word", "bpe"] = "word",
    size: Count = 10_000,
    lowercase: bool = True,
) -> PreTrainedTokenizerFast:
    """Train a tokenizer on `captions`.

    Args:
        kind: `word` for whole words and single punctuation marks, others being `<unk>`; or `bpe` for byte-level pairs
            as in GPT-2, for any script, without unknown tokens.
        size: at most this many tokens, the most frequent ones.
        lowercase: fold case before counting and encoding.

    Returns:
        A tokenizer whose decoding restores the encoded text, except for unknown words and runs of spaces.

    Raises:
        ValueError: bad options.
    """
    if kind == "word":
        # A word carries the space before it ("▁dog"), so that joining tokens restores the text, punctuation included.
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation("isolated")]
        )
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=[END, UNKNOWN], show_progress=False)
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    folds = [normalizers.Lowercase()] if lowercase else []
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *folds, spaces, normalizers.Strip()])
    tokenizer.train_from_iterator(captions, trainer)
    specials = {"eos_token": END, "bos_token": END, "pad_token": END}
    if kind == "word":
        specials["unk_token"] = UNKNOWN
    # Cleaning up spaces would change captions when they are decoded, such as "a ,b".
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        **{name: AddedToken(token, special=True, normalized=False) for name, token in specials.items()},
    )


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerFast:
    """A tokenizer by folder or Hub id. Only `tokenizer.json` is read, never code in a downloaded folder.

    Raises:
        ValueError: it cannot be read or has no end token.
        MissingFolder: there is no folder of that name, which is no Hub id either.
    """
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(
            find_hub_folder(source, WITHOUT_WEIGHTS), local_files_only=True
        )
    except MissingFolder:  # it has a hint of its own
        raise
    except Exception as error:  # Hub, file and format errors come in many classes
        raise ValueError(
            f"The tokenizer in {source} cannot be read ({one_line(error)}): "
            "name another one with decoder.tokenizer.name"
        ) from error
    if tokenizer.eos_token_id is None:
        # GPT-2's files do not say that this is its end token.
        if END not in tokenizer.get_vocab():
            raise ValueError(f"The tokenizer of {source} has no end token (eos_token), which a caption must end with")
        tokenizer.eos_token = tokenizer.bos_token = END
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.clean_up_tokenization_spaces = False
    return tokenizer


def make_tokenizer(options: Mapping, captions: list[str]) -> PreTrainedTokenizerFast:
    """From options `{name}` (load) or, without a name, `{kind, size, lowercase}` (train on `captions`).

    Raises:
        ValueError: bad options, or a tokenizer that cannot be loaded.
    """
    options = dict(options)
    if (name := options.pop("name", None)) is not None:
        if options:
            raise ValueError(
                f"decoder.tokenizer.name={name} loads a finished tokenizer: remove {sorted(options)}, "
                "which are options of training one"
            )
        return load_tokenizer(name)
    return train_tokenizer(captions, **options)


def end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of the token that ends a caption, which is also its padding."""
    return cast(int, tokenizer.eos_token_id)
