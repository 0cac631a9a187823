"""Words that name many files: `@list.txt`, `pictures.parquet`, `shards-{000000..000099}.tar`, `data/*.tar`.

Nothing heavy is imported here, since commands read their words first.
"""

from __future__ import annotations

import glob
from pathlib import Path

from common.extras import require

LIST_MARK = "@"
PARQUET_ENDING = ".parquet"
TAR_ENDINGS = (".tar", ".tar.gz", ".tgz")
PACKED_ENDINGS = (PARQUET_ENDING, *TAR_ENDINGS)
SHOWN = 3


def is_list(path: Path) -> bool:
    """Whether the path is `@` and a text file's, which lists paths."""
    return str(path).startswith(LIST_MARK) and not path.exists()


def is_packed(path: Path) -> bool:
    """Whether files are inside the file of this name."""
    return path.name.lower().endswith(PACKED_ENDINGS) and not path.is_dir()


def is_pattern(word: str) -> bool:
    """Whether the word may mean several files."""
    return glob.has_magic(word) or ("{" in word and "}" in word)


def expand(word: str) -> list[Path]:
    """The files that a word means: braces give each of their names, which must exist, and `*`, `?` and `[...]` what is
    there, by name. A word without any of them means nothing here.

    Raises:
        FileNotFoundError: some of the files that braces name are missing, or nothing matches.
        ImportError: the library that expands braces is not installed.
    """
    names = [word]
    if "{" in word and "}" in word:
        require("braceexpand")
        from braceexpand import braceexpand

        names = list(braceexpand(word))
    files: list[Path] = []
    missing: list[str] = []
    for name in names:
        matches = sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else [name] * Path(name).exists()
        files += map(Path, matches)
        missing += [name] * (not matches)
    if missing and len(names) > 1:
        listed = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        raise FileNotFoundError(f"{len(missing):,} of the {len(names):,} files of {word} are missing: {listed}")
    if not files:
        raise FileNotFoundError(f"There is no file or folder {word!r}")
    return files
