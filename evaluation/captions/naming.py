"""Which image a prediction is of, where files name images by ids, by paths or by file names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Names(NamedTuple):
    """What an image may be called: its id and, where it has one, its file's path in the parts between slashes."""

    image_id: str
    path: tuple[str, ...] = ()


def names_of(image_id: str, file_name: Any = None) -> Names:
    """An image's names; whatever is no string is no file name."""
    return Names(image_id, _parts(file_name) if isinstance(file_name, str) else ())


def named_as(images: Sequence[Names], image_ids: Sequence[str]) -> list[str]:
    """What each image is to be called, so that as many as possible are called by one of `image_ids`.

    All images are called by their ids; or by their files' paths, of which `image_ids` may begin with further folders;
    or by their files' names; or by those without their ending; the first of these ways that fits the most ids. An
    image is then called by the id of `image_ids` that fits it, and by its own name in that way if there is none.

    Raises ValueError when two images, or two ids, would be taken for one.
    """
    matches = [_matched(images, image_ids, way) for way in _WAYS]
    counts = [len(pairs) for pairs in matches]
    best = counts.index(max(counts))
    way, pairs = _WAYS[best], matches[best]
    if best == 0:
        return [names.image_id for names in images]
    ids = {image_id: name for name, image_id in pairs}
    by_image: dict[str, str] = {}
    for image_id, name in ids.items():
        if name in by_image:
            raise ValueError(
                f"the predicted images {by_image[name]!r} and {image_id!r} are both its image {name!r}: predict each "
                "once"
            )
        by_image[name] = image_id
    called: list[str] = []
    taken: dict[str, Names] = {}
    for names in images:
        name = way(names) or names.image_id
        key = by_image.get(name, name)
        if key in taken:
            raise ValueError(
                f"its images {taken[key].image_id!r} and {names.image_id!r} are both called {name!r}: name the "
                "predicted images as it does, by their ids or whole paths"
            )
        taken[key] = names
        called.append(key)
    return called


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[\\/]", path) if part not in ("", "."))


def _stem(name: str) -> str:
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name


_Way = Callable[[Names], str]
_WAYS: tuple[_Way, ...] = (
    lambda names: names.image_id,
    lambda names: "/".join(names.path),
    lambda names: names.path[-1] if names.path else "",
    lambda names: _stem(names.path[-1]) if names.path else "",
)


def _matched(images: Sequence[Names], image_ids: Sequence[str], way: _Way) -> list[tuple[str, str]]:
    """(what the way calls an image, the id that fits it) of all ids that fit one."""
    known = {way(names) for names in images} - {""}
    longest = 0 if way is _WAYS[0] else max((name.count("/") + 1 for name in known), default=0)
    pairs = []
    for image_id in image_ids:
        parts = _parts(image_id) if longest else ()
        tails = ["/".join(parts[-n:]) for n in range(longest, 0, -1)] if parts else []
        if way is _WAYS[3] and parts:
            tails.append(_stem(parts[-1]))
        fits = next((name for name in (image_id, *tails) if name in known), None)
        if fits is not None:
            pairs.append((fits, image_id))
    return pairs
