"""What all sources of files are: rows in a fixed order, each with a key, read one after the other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from embedding_space.media import Packed

Content = Path | Packed


class Row(NamedTuple):
    """A file of a source.

    key: no other row of any source has it.
    read: gives the file, or a file's content; to be called before the next row is taken, if at all. It raises
        ValueError where there is none.
    """

    key: str
    read: Callable[[], Content]


class Source:
    """Files in a fixed order.

    A subclass gives `rows`, whose memory must not grow with their number.

    Attributes:
        name: what messages call it.
    """

    name: str

    @property
    def size(self) -> int | None:
        """Bytes of a file that holds many files, by which a change shows; None for others."""
        return None

    def rows(self) -> Generator[Row]:
        """All rows. What is not read costs little.

        Raises:
            ValueError: the source cannot be read as what it is.
            FileNotFoundError: it is not there.
        """
        raise NotImplementedError


def read_ranges(
    sources: Sequence[Source], counts: Sequence[int], ranges: Iterable[range]
) -> Iterator[tuple[str, Content | ValueError]]:
    """(key, file) of some rows of all sources together, in order; an error in the place of a file that is not there.

    Args:
        counts: how many rows each source has. Sources without a wanted row are not opened.
        ranges: the wanted rows, increasing. Row 0 is the first source's first.

    Raises:
        ValueError: a source has not as many rows as it had.
    """
    wanted, first = iter(ranges), 0
    current = next(wanted, None)
    for source, count in zip(sources, counts, strict=True):
        end = first + count
        parts = []
        while current is not None and current.start < end:
            stop = min(current.stop, end)
            parts.append(range(current.start - first, stop - first))
            current = range(stop, current.stop) or next(wanted, None)
        if parts:
            yield from _read_parts(source, parts)
        first = end


def _read_parts(source: Source, parts: Sequence[range]) -> Iterator[tuple[str, Content | ValueError]]:
    place = 0
    with closing(source.rows()) as rows:
        for part in parts:
            taken = 0
            for row in islice(rows, part.start - place, part.stop - place):
                yield row.key, _content(row)
                taken += 1
            if taken < len(part):
                raise ValueError(
                    f"{source.name} has fewer files than when they were counted: start again with overwrite=true"
                )
            place = part.stop


def _content(row: Row) -> Content | ValueError:
    try:
        return row.read()
    except ValueError as error:
        return error
