"""Concepts: frequent nouns, their embeddings, and files of them, published or damaged."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from image_captioning.concepts import PROMPTS, corpus_nouns, embed_concepts, read_concepts, read_names

NAMES = ["dog", "cat", "hot dog"]


@pytest.fixture
def rows() -> torch.Tensor:
    return torch.randn(3, 8, generator=torch.Generator().manual_seed(0))


def save_npz(path: Path, names, rows, **more) -> Path:
    np.savez(path, names=np.array(names), embeddings=np.asarray(rows), **more)
    return path


def test_the_most_frequent_nouns_come_first_and_ties_by_the_alphabet():
    captions = ["Two dogs and a zebra.", "a dog with a ball", "A cat; the cat's ball", "quickly"]
    assert corpus_nouns(captions, 3) == ["ball", "cat", "dog"]
    assert corpus_nouns(captions, 99) == ["ball", "cat", "dog", "zebra"]


def test_a_concept_is_the_mean_of_its_prompts_unit_rows(word_encoder):
    encoder = word_encoder(16)
    concepts = embed_concepts(NAMES, encoder)
    assert concepts.names == NAMES and concepts.dim == 16 and len(concepts) == 3
    assert len(PROMPTS["ensemble"]) == 7
    for name, row in zip(NAMES, concepts.rows, strict=True):
        prompts = [prompt.format(name) for prompt in PROMPTS["ensemble"]]
        slow = torch.stack([F.normalize(encoder.encode_texts([prompt])[0], dim=0) for prompt in prompts]).mean(0)
        assert torch.allclose(row, F.normalize(slow, dim=0), atol=1e-6)
    single = embed_concepts(NAMES, encoder, PROMPTS["single"])
    assert torch.allclose(single.rows, encoder.encode_texts([f"A photo of {name}" for name in NAMES]), atol=1e-6)
    with pytest.raises(ValueError, match=r"\['a dog'\] must each have \{\}, the place of the noun"):
        embed_concepts(NAMES, encoder, ["a dog"])
    with pytest.raises(ValueError, match="the concept 'dog' occurs 2 times"):
        embed_concepts(["dog", "dog"], encoder)


@pytest.mark.parametrize("kind", ["npz", "numpy.pickle", "tensor.pkl", "torch.pt"])
def test_published_files_become_unit_rows(tmp_path, rows, kind):
    path = tmp_path / f"concepts.{kind}"
    if kind == "npz":
        save_npz(path, NAMES, rows.half())
    elif kind == "torch.pt":
        torch.save([NAMES, rows.half()], path)
    else:
        matrix = rows.half().numpy() if kind.startswith("numpy") else rows.half()
        path.write_bytes(pickle.dumps((NAMES, matrix), protocol=4))
    concepts = read_concepts(path, 8)
    assert concepts.names == NAMES and concepts.rows.dtype == torch.float32
    assert torch.allclose(concepts.rows, F.normalize(rows, dim=-1), atol=1e-3)
    assert torch.allclose(concepts.rows.norm(dim=-1), torch.ones(3), atol=1e-6)
    with pytest.raises(ValueError, match=rf"{path.name} has concepts of 8 dimensions, and the embeddings here have 5"):
        read_concepts(path, 5)
    path.write_bytes(path.read_bytes()[:-90])
    with pytest.raises(ValueError, match=rf"{path.name} is refused"):
        read_concepts(path, 8)


def test_what_cannot_be_concepts_is_refused_by_its_name(tmp_path, rows):
    path = tmp_path / "concepts.npz"
    bad = rows.clone()
    bad[1, 2] = float("nan")
    for names, values, message in [
        (["dog", "cat", "dog"], rows, "the concept 'dog' occurs 2 times"),
        (["dog", " ", "cat"], rows, "a name of a concept is blank"),
        (NAMES, bad, "the embedding of the concept 'cat' is zero or not finite"),
        (NAMES, 0 * rows, "the embedding of the concept 'dog' is zero or not finite"),
        (NAMES[:2], rows, r"2 concepts have embeddings of shape \(3, 8\)"),
        (np.array([], "U3"), rows[:0], "there are no concepts"),
        ([1, 2, 3], rows, "names must be a row of text and embeddings numbers; they are int64"),
        (NAMES, rows[0], "it is no pair of a list of names and a matrix"),
    ]:
        save_npz(path, names, values)
        with pytest.raises(ValueError, match=rf"concepts\.npz is refused: {message}"):
            read_concepts(path, 8)
    np.savez(path, words=np.array(NAMES))
    with pytest.raises(ValueError, match="it has no array 'names', only words"):
        read_concepts(path, 8)
    save_npz(path, np.array(NAMES, object), rows)  # a pickle inside
    with pytest.raises(ValueError, match=r"is refused as a \.npz archive: .*pickle"):
        read_concepts(path, 8)
    np.save(tmp_path / "matrix.npy", rows)
    (tmp_path / "matrix.npy").rename(path)
    with pytest.raises(ValueError, match="it is a single array"):
        read_concepts(path, 8)
    (tmp_path / "words.pkl").write_bytes(pickle.dumps(NAMES, protocol=4))
    with pytest.raises(ValueError, match="no pair of a list of names and a matrix"):
        read_concepts(tmp_path / "words.pkl", 8)
    (tmp_path / "words.txt").write_text("dog\n")
    with pytest.raises(ValueError, match=r"words\.txt has no embeddings of concepts .* a list of words is a \.txt"):
        read_concepts(tmp_path / "words.txt", 8)
    with pytest.raises(FileNotFoundError, match="There is no file of concepts"):
        read_concepts(tmp_path / "none.npz", 8)


def test_a_list_of_words_has_one_a_line(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("dog\r\n\n hot dog \ncat\n")
    assert read_names(path) == ["dog", "hot dog", "cat"]
    path.write_text("dog\ncat\ndog\n")
    with pytest.raises(ValueError, match=r"words\.txt is refused: the concept 'dog' occurs 2 times"):
        read_names(path)
    path.write_text("\n")
    with pytest.raises(ValueError, match=r"words\.txt is refused: there are no concepts"):
        read_names(path)


@pytest.mark.shared
@pytest.mark.parametrize(("name", "dim"), [("ViT-B-32", 512), ("ViT-L-14", 768)])
def test_pcm_nets_own_concepts_are_read(name, dim):
    shared = Path(os.environ.get("DIFFUSION_BRIDGE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    path = shared / "clip_concepts" / f"{name}.npz"
    if not path.is_file():
        pytest.skip("PCM-Net's concepts are not here")
    concepts = read_concepts(path, dim)
    assert len(concepts) == 446 and {"adult", "airplane", "veggy", "zebra"} <= set(concepts.names)
    cosines = concepts.rows @ concepts.rows.T
    assert cosines.diagonal().tolist() == pytest.approx([1] * 446, abs=1e-5)
    near = {concepts.names[row]: concepts.names[cosines[row].topk(2).indices[1]] for row in range(446)}
    assert near["airplane"] in ("airport", "plane", "jet") and near["man"] in ("woman", "guy", "boy", "gentleman")
    with pytest.raises(ValueError, match=f"concepts of {dim} dimensions, and the embeddings here have 128"):
        read_concepts(path, 128)
