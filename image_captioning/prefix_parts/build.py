"""The prefix parts that a training asks for: their vocabulary, their prompt, and the captions that they search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from common.checks import Count, checked_dataclass
from embedding_space.store import EmbeddingStore
from image_captioning.concepts import Concepts
from image_captioning.make_concepts import concept_names, make_concepts
from image_captioning.mappers import mapper_type
from image_captioning.prefix_parts.memory import CaptionMemory
from image_captioning.prefix_parts.parts import PrefixParts, PromptOptions, RetrievalOptions
from image_captioning.prefix_parts.prompt import BEGINNING, ENDING, NOTHING, HardPrompt
from image_captioning.prefix_parts.rules import make_rule

KEYS = ("vocabulary", "prompt", "source", "retrieval")


@checked_dataclass("parts.vocabulary.")
class VocabularyOptions:
    """Words that prompts may name: those of a file, or the `count` most frequent nouns of the training captions.

    Attributes:
        file: see `concepts_of_file`.
        count: None for all nouns.
        prompts: what embeds a word, a name in `concepts.PROMPTS`.
    """

    file: str | None = None
    count: Count | None = 446
    prompts: str = "ensemble"


def check_parts(options: Mapping[str, Any], mapper: Mapping, inputs: Sequence[str]) -> None:
    """Refuse options of prefix parts that are bad or do not go together, before anything is read.

    Args:
        options: `parts` of `configs/image_captioning.yaml`.
        mapper: the decoder's.
        inputs: what the training and its validation read.

    Raises:
        ValueError: they are refused.
        FileNotFoundError: there is no such vocabulary.
    """
    if unknown := set(options) - set(KEYS):
        raise ValueError(f"There is no option parts.{min(unknown)}; known: {', '.join(KEYS)}")
    prompt, source, retrieval = (options.get(key) for key in ("prompt", "source", "retrieval"))
    if (prompt is None) != (source is None):
        raise ValueError(
            "parts.prompt and parts.source go together, the words of a prompt and where an image's come from: give "
            "both or set both to null"
        )
    if source is not None:
        make_rule(source)
        PromptOptions(**(prompt or {}))
        file = VocabularyOptions(**(options.get("vocabulary") or {})).file
        if file is not None and not Path(file).is_file():
            raise FileNotFoundError(f"There is no file of concepts {file} (option parts.vocabulary.file)")
    RetrievalOptions(**(retrieval or {}))
    mapper_type(mapper.get("kind"), retrieval is not None)
    if (source is not None or retrieval is not None) and set(inputs) != {"text"}:
        raise ValueError(
            f"Prefix parts (parts=...) learn from text alone: set train_on and validate_on to text, not {min(inputs)}"
        )


def tokenizer_text(captions: list[str], vocabulary: Concepts | Sequence[str]) -> list[str]:
    """What a tokenizer is trained on: the captions; with a vocabulary also a prompt for each of them, and each word."""
    names = vocabulary.names if isinstance(vocabulary, Concepts) else vocabulary
    return [*captions, *[f"{BEGINNING} {NOTHING} {ENDING}"] * len(captions), *names] if len(names) else captions


def make_vocabulary(options: Mapping[str, Any], captions: Sequence[str], store: EmbeddingStore) -> Concepts | list[str]:
    """The words of `parts.vocabulary`, embedded by the store's encoder if the rule of `parts.source` reads that; none
    for parts without a prompt.

    Raises:
        ValueError: the file is refused, the captions have no nouns, or the encoder cannot be loaded.
    """
    if options.get("source") is None:
        return []
    chosen = asdict(VocabularyOptions(**(options.get("vocabulary") or {})))
    make = make_concepts if make_rule(options["source"]).reads_vocabulary else concept_names
    return make(chosen, captions, store, "parts.vocabulary.")


def make_parts(
    options: Mapping[str, Any],
    vocabulary: Concepts | Sequence[str],
    tokenizer: PreTrainedTokenizerFast,
    store: EmbeddingStore,
) -> PrefixParts:
    """The prefix parts of checked options (`check_parts`).

    Args:
        vocabulary: as `make_vocabulary` gives it. Words that the tokenizer does not know are left out.

    Raises:
        ValueError: the tokenizer knows none of the words, or there are fewer captions than are to be found.
    """
    names = vocabulary.names if isinstance(vocabulary, Concepts) else list(vocabulary)
    known = [row for row, name in enumerate(names) if _is_known(name, tokenizer)]
    if names and not known:
        raise ValueError(
            f"The tokenizer knows none of the {len(names)} words of parts.vocabulary: take one with these words, such "
            "as decoder.tokenizer.kind=bpe"
        )
    if left_out := len(names) - len(known):
        print(f"parts.vocabulary: {left_out} of {len(names)} words are left out, which the tokenizer does not know")
    values: dict[str, Any] = {"dim": store.dim, "names": [names[row] for row in known]}
    prompt = memory = None
    if options.get("source") is not None:
        chosen = PromptOptions(**(options.get("prompt") or {}))
        prompt = HardPrompt.of(values["names"], tokenizer, chosen.words)
        shape = {"width": prompt.tokens.shape[1], "longest": prompt.longest}
        values |= {"source": dict(options["source"]), "prompt": {**asdict(chosen), **shape}}
    if options.get("retrieval") is not None:
        values["retrieval"] = asdict(RetrievalOptions(**options["retrieval"]))
    if searched := _searched(options):
        memory = CaptionMemory.from_store(store, values["names"])
        name, count = max(searched.items(), key=lambda item: item[1])
        if count > len(memory.rows):
            raise ValueError(f"{name}={count} is more than the {len(memory.rows)} captions to search: lower it")
        values["memory"] = memory.options()
    parts = PrefixParts(**values)
    if prompt is not None:
        parts.prompt = prompt
    if memory is not None:
        parts.memory = memory
    if isinstance(vocabulary, Concepts) and parts.vocabulary is not None:
        parts.vocabulary.copy_(vocabulary.rows[known])
    return parts


def _searched(options: Mapping[str, Any]) -> dict[str, int]:
    """How many captions are searched for an image, by the option that says so."""
    source, retrieval = options.get("source"), options.get("retrieval")
    read = 0 if source is None else make_rule(source).captions
    neighbors = 0 if retrieval is None else RetrievalOptions(**retrieval).neighbors
    counts = {"parts.source.captions": read, "parts.retrieval.neighbors": neighbors}
    return {name: count for name, count in counts.items() if count}


def _is_known(name: str, tokenizer: PreTrainedTokenizerFast) -> bool:
    unknown = tokenizer.unk_token_id
    if unknown is None or unknown == tokenizer.eos_token_id:  # GPT-2's, which writes any text
        return True
    return unknown not in tokenizer(name, add_special_tokens=False).input_ids
