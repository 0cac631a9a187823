"""A vocabulary of visual concepts: frequent nouns and their text embeddings (PCM-Net, section 3.2; ViECap's entities).

PCM-Net's paper embeds "A photo of {}"; the authors' code reads a file of 446 nouns of COCO, whose embeddings are means
over prompts ("with_ensemble", as ViECap has them).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from common.text_files import numbered_lines
from embedding_space.encoders.base import Encoder
from embedding_space.encoders.prompts import PROMPTS
from embedding_space.peers.npz import read_npz
from embedding_space.peers.unpickle import load_plain
from evaluation.captions.nouns import count_nouns

PICKLES = (".pkl", ".pickle", ".pt", ".pth")


@dataclass(frozen=True)
class Concepts:
    """C concepts.

    Attributes:
        names: their nouns, each once.
        rows: (C, D) float32, unit rows: their text embeddings.

    Raises:
        ValueError: there are none, a name is blank or occurs twice, or the rows are not one for each name, or zero or
            not finite. Rows of another length are brought to unit length.
    """

    names: list[str]
    rows: Tensor

    def __post_init__(self):
        _check_names(self.names)
        if self.rows.ndim != 2 or len(self.rows) != len(self.names):
            raise ValueError(f"{len(self.names)} concepts have embeddings of shape {tuple(self.rows.shape)}")
        rows = self.rows.float()
        lengths = rows.norm(dim=-1)
        if len(bad := (~lengths.isfinite() | (lengths == 0)).nonzero()[:, 0]):
            raise ValueError(f"the embedding of the concept {self.names[int(bad[0])]!r} is zero or not finite")
        object.__setattr__(self, "rows", F.normalize(rows, dim=-1))

    @property
    def dim(self) -> int:
        return self.rows.shape[1]

    def __len__(self):
        return len(self.names)


def corpus_nouns(captions: Sequence[str], count: int | None) -> list[str]:
    """The `count` most frequent nouns of a corpus as singular forms, the most frequent first; ties by the alphabet.

    A corpus with fewer nouns gives all of them, and so does None. Raises ImportError when textblob is missing.
    """
    counts = count_nouns(captions)
    return sorted(counts, key=lambda noun: (-counts[noun], noun))[:count]


def embed_concepts(names: Sequence[str], encoder: Encoder, prompts: Sequence[str] = PROMPTS["ensemble"]) -> Concepts:
    """Embed nouns by an encoder: the mean of the unit rows of the prompts with the noun in the place of {}.

    Raises:
        ValueError: a prompt has no {}, or names are refused (`Concepts`).
    """
    if not prompts or any("{}" not in prompt for prompt in prompts):
        raise ValueError(f"The prompts of concepts {list(prompts)} must each have {{}}, the place of the noun")
    _check_names(names)
    sentences = [prompt.replace("{}", name) for name in names for prompt in prompts]
    encoder.warn_of_cut(sentences, "prompts of concepts")
    rows = encoder.encode_texts(sentences).unflatten(0, (len(names), len(prompts)))
    return Concepts(list(names), rows.mean(dim=1))


def read_names(path: str | Path) -> list[str]:
    """The nouns of a text file, one a line; they need an encoder (`embed_concepts`).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no text, holds none, or one of them twice.
    """
    path = _existing(path)
    names = [line.strip() for _, line in numbered_lines(path)]
    _check_names(names, f"{path} is refused: ")
    return names


def read_concepts(path: str | Path, dim: int) -> Concepts:
    """The concepts of a file that has their embeddings.

    Args:
        path: a .npz archive with `names` and `embeddings`, or a pickle of (list of names, matrix) as PCM-Net and ViECap
            publish them, which is read without running anything in it.
        dim: D, the width of the store's rows.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or of another kind, its rows are of another width, or the concepts are refused.
    """
    path = _existing(path)
    if path.suffix == ".npz":
        names, rows = read_npz(path, "names", "embeddings")
        if names.ndim != 1 or names.dtype.kind != "U" or rows.dtype.kind != "f":
            raise ValueError(
                f"{path} is refused: names must be a row of text and embeddings numbers; they are {names.dtype} of "
                f"shape {names.shape} and {rows.dtype}"
            )
        content = names.tolist(), torch.from_numpy(rows.astype("float32"))
    elif path.suffix in PICKLES:
        content = load_plain(path)
    else:
        raise ValueError(
            f"{path} has no embeddings of concepts that can be read: give a .npz archive or a pickle "
            f"({', '.join(PICKLES)}); a list of words is a .txt file"
        )
    if not (isinstance(content, (list, tuple)) and len(content) == 2):
        raise ValueError(f"{path} is refused: it is no pair of a list of names and a matrix of their embeddings")
    names, rows = content
    if not isinstance(names, (list, tuple)) or not isinstance(rows, Tensor) or rows.ndim != 2:
        raise ValueError(f"{path} is refused: it is no pair of a list of names and a matrix of their embeddings")
    if rows.shape[1] != dim:
        raise ValueError(
            f"{path} has concepts of {rows.shape[1]} dimensions, and the embeddings here have {dim}: take the concepts "
            "of this encoder, or a list of words (.txt), which it embeds"
        )
    try:
        return Concepts(list(names), rows)
    except ValueError as error:
        raise ValueError(f"{path} is refused: {error}") from error


def _existing(path: str | Path) -> Path:
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file of concepts {path}")
    return Path(path)


def _check_names(names: Sequence[str], where: str = "") -> None:
    if not names:
        raise ValueError(f"{where}there are no concepts")
    if any(not isinstance(name, str) or not name.strip() for name in names):
        raise ValueError(f"{where}a name of a concept is blank or no text")
    [(name, count)] = Counter(names).most_common(1)
    if count > 1:
        raise ValueError(f"{where}the concept {name!r} occurs {count} times")
