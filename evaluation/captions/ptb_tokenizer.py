"""PTB tokenisation of captions, as COCO's caption evaluation does it before every metric.

The same jar, options and list of dropped punctuation as pycocoevalcap's PTBTokenizer, so the tokens are the same; but
text goes through a pipe (its wrapper writes into site-packages, which may be read-only) and lines are counted, so that
a caption can never receive its neighbour's tokens.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation.captions.cache import read_cached, write_cached
from evaluation.captions.java import JavaError, pycocoevalcap_folder, run_java

_OPTIONS = ("edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase")
# Everything that Java's lexer takes for the end of a line, besides \n.
_LINE_BREAKS = re.compile("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_TIMEOUT_SECONDS = 600


def ptb_tokenize(captions: Sequence[str]) -> list[str]:
    """Lower-cased tokens of each caption joined by single spaces, punctuation dropped; "" stays "".

    Raises JavaError when Java is missing or fails.
    """
    if not captions:
        return []
    folder = pycocoevalcap_folder()
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS, STANFORD_CORENLP_3_4_1_JAR

    # Half a surrogate pair, which JSON can hold, has no UTF-8 form: it becomes "?", which is dropped as punctuation.
    lines = "".join(_LINE_BREAKS.sub(" ", caption) + "\n" for caption in captions).encode("utf-8", "replace")
    jar = folder / "tokenizer" / STANFORD_CORENLP_3_4_1_JAR
    output = run_java("-cp", str(jar), *_OPTIONS, stdin=lines, timeout_seconds=_TIMEOUT_SECONDS)
    tokenized = output.decode("utf-8").split("\n")[:-1]
    if len(tokenized) != len(captions):
        raise JavaError(f"the PTB tokenizer returned {len(tokenized)} lines for {len(captions)} captions")
    dropped = frozenset(PUNCTUATIONS)
    return [" ".join(w for w in line.rstrip().split(" ") if w not in dropped) for line in tokenized]


def tokenize_references(
    references: Mapping[str, Sequence[str]], cache_dir: str | Path | None = None
) -> dict[str, list[str]]:
    """PTB tokens of every reference, {image_id: [tokens joined by spaces]}, in the order given.

    With `cache_dir` the result is kept in a file named by a hash of the references' content, and read back the next
    time; a damaged file is made anew, and where nothing can be kept a warning says so. Raises JavaError as
    `ptb_tokenize`.
    """
    path = None if cache_dir is None else Path(cache_dir) / f"references-{_content_hash(references)}.json"
    if path is not None and (cached := _read_cache(path, references)) is not None:
        return cached
    tokens = iter(ptb_tokenize([caption for captions in references.values() for caption in captions]))
    tokenized = {image_id: [next(tokens) for _ in captions] for image_id, captions in references.items()}
    if path is not None:
        write_cached(path, json.dumps(tokenized))
    return tokenized


def _content_hash(references: Mapping[str, Sequence[str]]) -> str:
    content = json.dumps([_OPTIONS, [[image_id, list(c)] for image_id, c in references.items()]])
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def _read_cache(path: Path, references: Mapping[str, Sequence[str]]) -> dict[str, list[str]] | None:
    text = read_cached(path)
    if text is None:
        return None
    try:
        cached = json.loads(text)
        same = list(cached) == list(references)
        same = same and all(len(cached[i]) == len(captions) for i, captions in references.items())
        same = same and all(isinstance(tokens, str) for captions in cached.values() for tokens in captions)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return cached if same else None
