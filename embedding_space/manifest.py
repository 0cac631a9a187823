"""What a store's `manifest.json` says: which encoder made which rows of which tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from embedding_space.media import Medium

FORMAT = 1
Modality = Annotated[str, Field(pattern="^(images|texts)$")]
OPTIONAL = ("dims", "patches", "patch_width", "text_splits")  # absent where they are None
IMAGE = "image"  # the medium where a manifest names none


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class StoreManifest:
    """A store's manifest.

    Attributes:
        encoder: the encoder's description.
        dim: the width of all rows; None where images and texts have no joint space.
        rows: {modality: number of rows}, without modalities that have none.
        tables_hash: of the tables that were encoded.
        text_split: the split that is the text-only training corpus.
        text_mean_split, image_mean_split: the splits of the means.
        hash: of the embeddings; empty until they are made. It stays when texts of further splits are encoded.
        dims: {modality: width of its rows} where there is no joint space.
        patches: (P, D) of an image's patch tokens, where there are any.
        patch_width: W of their features before the encoder's head; None of stores from before these were kept.
        unreadable: rows of images that could not be read.
        cut_texts: how many texts are longer than the encoder takes.
        versions, command: of the packages, and the command line that made the store.
        text_splits: the splits whose texts are encoded; None where all are. Rows of other texts are zero.
        medium: what the files of `images` were read as.
    """

    encoder: dict[str, Any]
    dim: int | None
    rows: dict[Modality, int]
    tables_hash: str
    text_split: str
    text_mean_split: str
    image_mean_split: str | None
    hash: str
    dims: dict[Modality, int] | None = None
    patches: tuple[int, int] | None = None
    patch_width: int | None = None
    unreadable: list[int] = field(default_factory=list)
    cut_texts: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    command: str = ""
    format: Literal[1] = FORMAT
    dtype: Literal["float16"] = "float16"
    text_splits: list[str] | None = None
    medium: Medium = IMAGE

    def dim_of(self, modality: str) -> int:
        """The width of the rows of `modality`: "images" or "texts"."""
        width = self.dims[modality] if self.dims else self.dim
        assert width is not None
        return width

    def mean_split(self, modality: str) -> str | None:
        """The split that the mean of `modality` ("text" or "image") is over."""
        return {"text": self.text_mean_split, "image": self.image_mean_split}[modality]

    def identity(self) -> dict[str, Any]:
        """What is known before anything is encoded and stays when further texts are, as JSON."""
        later = ("hash", "unreadable", "cut_texts", "versions", "command", "text_splits")
        return {name: value for name, value in self.to_json().items() if name not in later}

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON; `from_json` reads it back."""
        content = {name: value for name, value in asdict(self).items() if value is not None or name not in OPTIONAL}
        if self.medium == IMAGE:
            del content["medium"]
        return content | {"patches": list(self.patches)} if self.patches else content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> StoreManifest:
        """The manifest of a file's content.

        Raises:
            ValueError: a key is unknown, missing or of another type; the sentence names it.
        """
        if isinstance(content, Mapping) and content.get("format") != FORMAT:
            raise ValueError(f"it has format {content.get('format')}, this code reads {FORMAT}")
        try:
            return TypeAdapter(cls).validate_python(content)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise ValueError(f"{key}: {first['msg']}" if key else first["msg"]) from error
