"""Errors that a command can help with. They say what is wrong in Python's terms; `common.hints` names the command."""

from __future__ import annotations

from pathlib import Path


class NeedsTables(Exception):
    """A data set's tables must be written.

    Args:
        message: what is wrong.
        root: the data set's folder.
    """

    def __init__(self, message: str, root: Path):
        super().__init__(message)
        self.root = Path(root)


class NeedsEmbeddings(Exception):
    """A data set must be encoded, or encoded again.

    Args:
        message: what is wrong.
        store: the folder of the embeddings, `<root of the data set>/<name of the encoder>`.
        options: of the command that encodes it, beside those that name data set and encoder.
        again: whether the folder must be deleted first.
    """

    def __init__(self, message: str, store: Path, *options: str, again: bool = True):
        super().__init__(message)
        self.store, self.options, self.again = Path(store), options, again


class NeedsTraining(Exception):
    """A model must be trained, or trained again.

    Args:
        message: what is wrong.
        stage: the room that trains it.
        options: of the command that trains it; by default those of any training of the stage.
    """

    def __init__(self, message: str, stage: str, options: str | None = None):
        super().__init__(message)
        self.stage, self.options = stage, options


class MissingModel(NeedsTraining, FileNotFoundError):
    """A folder lacks files of a model."""

    def __init__(self, what: str, folder: Path, missing: list[str], stage: str):
        super().__init__(f"No {what} in {folder} ({' and '.join(missing)} missing)", stage)


class OtherModel(NeedsTraining, ValueError):
    """A model was trained on something else than what it is to be used with."""


class DamagedModel(NeedsTraining, ValueError):
    """A model's files cannot be read as that model."""

    def __init__(self, what: str, folder: Path, reason: str, stage: str):
        super().__init__(f"The {what} in {folder} cannot be loaded ({reason})", stage)


class MissingFolder(FileNotFoundError):
    """There is no folder of a pretrained model; one that a command can fetch is called by the `name` of its config."""

    def __init__(self, folder: Path):
        super().__init__(f"There is no folder {folder} of a pretrained model")
        self.folder = folder
