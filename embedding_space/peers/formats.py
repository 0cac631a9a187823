"""Reading the embeddings that C³, Diffusion Bridge, CapDec and ClipCap keep as pickles.

C³ and Diffusion Bridge, `oscar_split_<encoder>_<split>.pkl` (github.com/yuhui-zh15/C3, in image_captioning:
src/parse_data/parse_coco.py):
`{"images": {imgid: {"img_path", "embed"}}, "captions": {sentid: {"caption", "img_id", "embed"}}}`, each embed (1, D) as
the encoder gave it, not normalized; ids are those of Karpathy's JSON (`imgid`, not COCO's own). Means,
`normalized_{text,image}_embed_mean.pkl`: (1, D), of the unit rows of train.

CapDec (github.com/DavidHuji/CapDec, embeddings_generator.py): `{"captions": [{"caption", "image_id", "id"?}],
"clip_embedding_text_dave": (M, D), "clip_embedding": (M, D) or empty}`, row n of both belonging to caption n. ClipCap's
own files lack the text embeddings, without which there is nothing to train on.

Embeddings may be tensors, NumPy arrays or lists of numbers, ids numbers or text.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from common.characters import is_whole, whole_characters
from embedding_space.peers.unpickle import Refused, load_plain


class RowFile:
    """Embeddings on disk in the order in which they come: float32 rows, one after the other.

    Raises:
        ValueError: the tensors are not rows of one width.
    """

    def __init__(self, path: str | Path):
        self.path, self.dim, self.count = Path(path), 0, 0
        self.broken: set[int] = set()
        self._file = self.path.open("wb")

    def add(self, tensor: Tensor) -> range:
        """Append (D,) or (N, D); returns the numbers of its rows."""
        if tensor.ndim not in (1, 2) or not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise Refused(f"A tensor of shape {tuple(tensor.shape)} and type {tensor.dtype} is no row of an embedding")
        if tensor.device.type != "cpu":  # "meta": a shape without numbers
            raise Refused(
                f"A tensor of shape {tuple(tensor.shape)} on the device {tensor.device} has no numbers to read"
            )
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise Refused(f"A tensor of shape {tuple(tensor.shape)} sees the same numbers again and again")
        if not tensor.numel():
            return range(self.count, self.count)
        rows = tensor.detach().float().reshape(-1, tensor.shape[-1])
        if self.dim not in (0, rows.shape[1]):
            raise Refused(f"Embeddings of {self.dim} and of {rows.shape[1]} dimensions are mixed in one file")
        self.dim = rows.shape[1]
        lengths = rows.norm(dim=1)
        broken = (~lengths.isfinite() | (lengths == 0)).nonzero()[:, 0]
        self.broken.update((self.count + broken).tolist())
        self._file.write(rows.contiguous().numpy().data)
        self.count += len(rows)
        return range(self.count - len(rows), self.count)

    def array(self) -> np.ndarray:
        """(rows, D) float32, memory-mapped, of all that was added."""
        self._file.flush()
        return np.memmap(self.path, np.float32, "r", shape=(self.count, self.dim))

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()
        self.path.unlink()


@dataclass
class PeerSplit:
    """The N images and M captions of one file, in its order.

    Attributes:
        images: (image_id, path) of each.
        captions: (caption_id, image, caption) of each; `image` is the position of its image or None.
        image_rows, caption_rows: the number of each one's row in the row file.
        blank: how many captions were left out, being blank (COCO has some).
        halves: in how many half a character became U+FFFD.
    """

    images: list[tuple[str, str]] = field(default_factory=list)
    captions: list[tuple[str, int | None, str]] = field(default_factory=list)
    image_rows: list[int] = field(default_factory=list)
    caption_rows: list[int] = field(default_factory=list)
    blank: int = 0
    halves: int = 0

    def mended(self, caption: str) -> str:
        """The caption, with U+FFFD for halves of characters, which are counted."""
        self.halves += not is_whole(caption)
        return whole_characters(caption)


def read_split(path: str | Path, rows: RowFile, split: str) -> PeerSplit:
    """Read a file of embeddings; they go to `rows` one by one, and ids and captions alone are held in memory.

    Args:
        split: makes up the ids of captions that have none.

    Raises FileNotFoundError, or ValueError naming the file for anything that is not one of the formats above.
    """
    path = Path(path)
    try:
        with tqdm(desc=f"read {path.name}", unit=" embeddings", dynamic_ncols=True) as bar:

            def keep(tensor: Tensor) -> range:
                added = rows.add(tensor)
                bar.update(len(added))
                return added

            content = load_plain(path, keep)
            reader = _Reader(path, rows, keep)
            if isinstance(content, dict) and isinstance(content.get("images"), dict):
                return reader.c3(content)
            if isinstance(content, dict) and isinstance(content.get("captions"), list):
                return reader.capdec(content, split)
    except Refused as refused:
        raise ValueError(f"{path} cannot be imported: {refused}") from None
    if isinstance(content, (Tensor, range)):
        raise ValueError(
            f"{path} holds embeddings without ids and captions: put them, tensors whose row n is of caption n, into a "
            "dict {'captions': [{'caption': ..., 'image_id': ...}, ...], 'clip_embedding_text_dave': texts, "
            "'clip_embedding': images}, and save it with pickle.dump(..., protocol=4)"
        )
    raise ValueError(
        f"{path} is no file of embeddings that C³, Diffusion Bridge or CapDec write: expected a dict with the keys "
        f"images and captions, or captions and clip_embedding_text_dave; it is {_described(content)}"
    )


def read_mean(path: str | Path) -> Tensor:
    """(D,) float32: the mean that a file holds, a tensor of shape (D,) or (1, D). Errors as for `read_split`."""
    mean = load_plain(path)
    if not isinstance(mean, Tensor) or not mean.is_floating_point() or mean.numel() != max(mean.shape, default=0):
        raise ValueError(f"{path} is no mean of embeddings: expected a tensor (1, D), it is {_described(mean)}")
    return mean.detach().float().flatten()


class _Reader:
    """Turns what a file holds into a PeerSplit. Everything in it may be missing or of another type."""

    def __init__(self, path: Path, rows: RowFile, keep):
        self.path, self.rows, self.keep = path, rows, keep

    def c3(self, content: dict) -> PeerSplit:
        images, captions = content["images"], self._get(content, "captions", dict, "the file")
        result, position = PeerSplit(), {}
        for image_id, image in images.items():
            what = f"image {_id(image_id)}"
            if (key := _key(image_id)) in position:
                raise Refused(f"{what} stands twice among its images, as a number and as text")
            position[key] = len(result.images)
            result.images.append((_id(image_id), os.path.normpath(self._get(image, "img_path", str, what))))
            result.image_rows.append(self._row(image, what))
        for caption_id, caption in captions.items():
            what = f"caption {_id(caption_id)}"
            image_id = _key(self._get(caption, "img_id", (int, float, str), what))
            if image_id not in position:
                raise Refused(f"{what} belongs to image {_id(image_id)}, which is not among its images")
            text = self._get(caption, "caption", str, what)
            if not text.strip():
                result.blank += 1
                continue
            result.captions.append((_id(caption_id), position[image_id], result.mended(text)))
            result.caption_rows.append(self._row(caption, what))
        return result

    def capdec(self, content: dict, split: str) -> PeerSplit:
        captions = content["captions"]
        texts = self._rows(content.get("clip_embedding_text_dave"))
        pictures = self._rows(content.get("clip_embedding"))
        for key, rows in (("clip_embedding_text_dave", texts), ("clip_embedding", pictures)):
            if not rows and isinstance(content.get(key), (list, tuple, dict, str)) and content[key]:
                raise Refused(
                    f"its {key} is no tensor, array or list of rows of one length; it is {_described(content[key])}"
                )
        if not texts:
            raise Refused(
                "it has no text embeddings (clip_embedding_text_dave), only those of images: encode the captions, "
                "which needs no such file"
            )
        if len(texts) != len(captions) or len(pictures) not in (0, len(captions)):
            raise Refused(
                f"it has {len(captions)} captions, {len(texts)} text embeddings and {len(pictures)} image embeddings"
            )
        result, position = PeerSplit(), {}
        for number, caption in enumerate(captions):
            what = f"caption {number}"
            text, image_id = self._get(caption, "caption", str, what), None
            if pictures:
                image_id = _key(self._get(caption, "image_id", (int, float, str), what))
                if image_id not in position:
                    position[image_id] = len(result.images)
                    # These files do not say where the pictures are.
                    result.images.append((_id(image_id), _id(image_id)))
                    result.image_rows.append(self._sound(pictures[number], f"image {_id(image_id)}"))
            if not text.strip():
                result.blank += 1
                continue
            caption_id = _id(caption["id"]) if isinstance(caption.get("id"), (int, str)) else f"{split}_{number}"
            result.captions.append((caption_id, position.get(image_id), result.mended(text)))
            result.caption_rows.append(self._sound(texts[number], what))
        return result

    def _get(self, record: Any, key: str, kinds, what: str) -> Any:
        if not isinstance(record, dict) or not isinstance(record.get(key), kinds):
            value = _described(record.get(key)) if isinstance(record, dict) else _described(record)
            raise Refused(f"{what} has no proper {key}; there is {value}")
        return record[key]

    def _rows(self, value: Any) -> Sequence[int]:
        """Numbers of rows in the row file. A pickle's tensors are there by now; those of a torch.save file and lists of
        numbers are put there."""
        if isinstance(value, (list, tuple)) and any(isinstance(part, (range, Tensor)) for part in value):
            return [row for part in value for row in self._rows(part)]
        if isinstance(value, (list, tuple)) and value:
            try:
                value = torch.tensor(value, dtype=torch.float32)
            except (TypeError, ValueError):  # of other things, or of lists of several lengths
                return range(0)
        if isinstance(value, Tensor):
            value = self.keep(value)
        return value if isinstance(value, range) else range(0)

    def _row(self, record: dict, what: str) -> int:
        rows = self._rows(record.get("embed"))
        if len(rows) != 1:
            raise Refused(f"{what} has no embedding of one row (embed); there is {_described(record.get('embed'))}")
        return self._sound(rows[0], what)

    def _sound(self, row: int, what: str) -> int:
        if row in self.rows.broken:
            raise Refused(f"the embedding of {what} is zero or not finite")
        return row


def _key(image_id: Any) -> str:
    """An id as text: 7, 7.0 and "7" are one image. Refuses blank text."""
    if isinstance(image_id, str) and not image_id.strip():
        raise Refused("an image has a blank id")
    return str(int(image_id) if isinstance(image_id, float) and image_id.is_integer() else image_id)


def _id(value: Any) -> str:
    return str(value)[:200]


def _described(value: Any) -> str:
    """A few words on a value out of a file, which may be huge."""
    if isinstance(value, dict):
        return f"a dict with the keys {', '.join(ascii(key)[:30] for key in list(value)[:8])}"
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    return "nothing" if value is None else f"a {type(value).__name__}"
