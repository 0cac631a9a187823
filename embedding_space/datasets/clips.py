"""Folders of clips, sounds or videos, whose lists know them by a name without an ending."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embedding_space.datasets.folders import files_of
from embedding_space.media import ENDINGS, NAMES, Medium


class Clips:
    """The sounds or videos in a folder and its subfolders, by their names without endings.

    Args:
        images: the folder in `source`; None for text alone: no clip is looked for.

    Raises:
        FileNotFoundError: there is no such folder. ValueError: it holds no clip, or two of one name.
    """

    def __init__(self, source: Path, images: str | None, medium: Medium):
        if not isinstance(images, str | None):
            raise ValueError(f"dataset.images={images} must be one folder, in which all {NAMES[medium]} are, or null")
        self.folder = folder = None if images is None else source / images
        self.medium: Medium = medium
        self._paths: dict[str, Path] = {}
        self._wanted: str | None = None  # the first name that was looked for in vain
        self._hit = False  # whether any was there
        if folder is None:
            return
        text_alone = "dataset.images=null takes the captions alone"
        if not folder.is_dir():
            raise FileNotFoundError(
                f"There is no folder {folder} (options dataset.source and dataset.images); {text_alone}"
            )
        for path in files_of(folder, medium):
            other = self._paths.setdefault(path.stem, path)
            if other != path:
                raise ValueError(f"{other} and {path} are two {NAMES[medium]} of one name: take one out of {folder}")
        if not self._paths:
            raise ValueError(
                f"There is no {medium} in {folder} (options dataset.source and dataset.images), which end in "
                f"{' '.join(ENDINGS[medium])}; {text_alone}"
            )

    def find(self, names: Sequence[str]) -> Path | None:
        """The clip called by the first of `names` that is there. Where none is, the path that it would have by the
        first one; for text alone, None."""
        if self.folder is None:
            return None
        path = next((self._paths[name] for name in names if name in self._paths), None)
        if path is not None:
            self._hit = True
            return path
        self._wanted = self._wanted or names[0]
        return self.folder / f"{names[0]}{ENDINGS[self.medium][0]}"

    def check(self) -> None:
        """Raises ValueError when clips were looked for, and every one in vain: they are called in another way."""
        if self._wanted is not None and not self._hit:
            example = next(iter(self._paths.values()))
            raise ValueError(
                f"None of the {len(self._paths):,} {NAMES[self.medium]} in {self.folder} is of this data set: one is "
                f"called {example.name}, where {self._wanted} was looked for"
            )
