"""What may be wrong with tables and embeddings on disk."""

from __future__ import annotations

import shlex
from pathlib import Path

from common.errors import NeedsEmbeddings, NeedsTables


class MissingTables(NeedsTables, FileNotFoundError):
    """A data set's folder has neither table."""

    def __init__(self, root: Path):
        super().__init__(f"No images.parquet or captions.parquet in {root}", root)


class MissingStore(NeedsEmbeddings, FileNotFoundError):
    """A folder has no finished store."""

    def __init__(self, path: Path):
        super().__init__(f"No embeddings in {path}", path, again=False)


class MissingArray(NeedsEmbeddings, FileNotFoundError):
    """A store lacks the array of a modality that its manifest names."""

    def __init__(self, path: Path):
        super().__init__(f"{path} is missing", path.parent)


class DamagedStore(NeedsEmbeddings, ValueError):
    """A file of a store is cut short or holds something else."""

    def __init__(self, path: Path, reason: object):
        super().__init__(f"{path} is damaged ({reason})", path.parent)


class StaleStore(NeedsEmbeddings, ValueError):
    """A store was encoded from other tables than the data set has now."""

    def __init__(self, path: Path, encoded: str, tables: str):
        super().__init__(
            f"The tables in {path.parent} (hash {tables[:12]}) are not those that {path} was encoded from (hash "
            f"{encoded[:12]})",
            path,
        )


class MissingTexts(NeedsEmbeddings, ValueError):
    """The texts of a split are not among those that a store was prepared with."""

    def __init__(self, path: Path, split: str, encoded: list[str]):
        option = f"text_splits={shlex.quote(split)}"
        super().__init__(
            f"{path} has embeddings of the texts of {', '.join(encoded)} alone, not of split {split!r}",
            path,
            option,
            again=False,
        )


class MissingPatches(NeedsEmbeddings, ValueError):
    """A store was prepared without patch tokens."""

    def __init__(self, path: Path):
        super().__init__(f"{path} has no patch tokens", path, "patches=true")


class MissingPatchFeatures(NeedsEmbeddings, ValueError):
    """A store has patch tokens, and was prepared before their features were kept beside them."""

    def __init__(self, path: Path):
        super().__init__(f"{path} has patch tokens without their features", path, "patches=true")


class MissingMean(NeedsEmbeddings, ValueError):
    """A store has no mean of a modality, for the data set has nothing of the split that it should be over."""

    def __init__(self, path: Path, modality: str, split: str | None):
        option = {"text": "text_split", "image": "image_mean_split"}[modality]
        super().__init__(
            f"{path} has no {modality}_mean: the data set has no {modality}s of the split {split!r} (option "
            f"dataset.{option})",
            path,
            f"dataset.{option}=ANOTHER",
        )
