"""Names of splits: one spelling for each, and which of them hold validation or test data."""

from __future__ import annotations

import re

WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validate", "validation", "dev", "devel", "development"),
    "test": ("test", "testing", "tst"),
}
# A year or `set` adds nothing to such a word: val2017, "Test Set".
SPELLINGS = {
    split: re.compile(rf"(?:{'|'.join(words)})(?:set|split|data)?(?:(?:19|20)\d\d)?") for split, words in WORDS.items()
}
HELD_OUT_WORD = re.compile(
    r"(?:mini|micro|trim)?(?:val|valid|validate|validation|dev|devel|development|tst)(?:set|split|data|[abcs])?"
    r"|(?:mini|micro|trim)?(?:test|eval)[a-z]*|hold(?:ing)?out|held|heldout|unseen"
)
TRAIN_WITH_VAL = re.compile(r"train(?:ing)?[^a-z]*val(?:id|idation)?[^a-z]*")


def canonical_split(name: str) -> str:
    """The common name of a split, whatever a data set calls it. Tables keep the written names.

    A name that means train, val or test is just that: `Training`, `train2014`; `VALID`, `validation`, `dev`, `val2017`;
    `Testing`, `test_set`. All other names stay, in lower case: `testA`, `minival`, `eval` and `restval` may be beside
    the usual ones. A part, what follows `/`, stays behind the name: `Val/In-Domain` is `val/in-domain`.

    Raises:
        ValueError: the name is not text, is blank, or has a `+`, which joins names.
    """
    if not isinstance(name, str) or "+" in name or not name.partition("/")[0].strip():
        raise ValueError(f"{name!r} is no name of a split: use text such as train, val or test, without +")
    head, _, part = _plain(name).partition("/")
    letters = re.sub(r"[\W_]", "", head)
    head = next((split for split, spelling in SPELLINGS.items() if spelling.fullmatch(letters)), head.strip())
    return f"{head}/{part.strip()}" if part.strip() else head


def _plain(name: str) -> str:
    return " ".join(name.lower().split())


def is_of_split(written: str, name: str) -> bool:
    """Whether rows that are marked `written` are of the split `name`, one of `split_names`, or of a part of it.

    `test` is all that means test; any other spelling, such as `testing`, is what is marked so.
    """
    return any(one == name or one.startswith(f"{name}/") for one in (canonical_split(written), _plain(written)))


def split_names(split: str) -> list[str]:
    """The names, in lower case, of the splits that an expression such as `train+extra` is the union of.

    Raises:
        ValueError: a name is empty.
    """
    names = str(split).split("+")
    if not all(name.strip() for name in names):
        raise ValueError(f"The split {split!r} is no split nor a sum of splits such as train+extra")
    return [_plain(name) for name in names]


def is_held_out(split: str) -> bool:
    """Whether the split looks like validation or test data, in any of its parts or summands.

    Any word of the name counts, in whatever case: `Test`, `test-dev`, `testA`, `minival`, `eval`, `coco/val2017`.
    `trainval` is training data, as in VOC and VQA; so are `restval` (Karpathy) and `validated` (Common Voice).
    """
    return any(_looks_held_out(name) for name in split_names(split))


def refuse_held_out(option: str, split: str | None) -> None:
    """Raise ValueError when the split that a model or a mean is made of holds validation or test data."""
    if split is not None and is_held_out(split):
        raise ValueError(
            f"{option}={split}: training data and means must not come from held-out data; name a training split, or "
            "give the split another name if it holds none"
        )


def _looks_held_out(name: str) -> bool:
    if TRAIN_WITH_VAL.fullmatch(name.partition("/")[0]):
        return False
    words = re.split(r"[^a-z]+", re.sub(r"\bhold[\W_]+out", "holdout", name))
    return any(HELD_OUT_WORD.fullmatch(word) for word in words)


def spelled(split: str) -> str:
    """An expression of splits in lower case and without blanks: `Train + extra` is `train+extra`."""
    return "+".join(split_names(split))
