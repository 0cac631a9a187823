"""Probes: values by a slow reference, recorded ones that pass, and what makes them fail."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from embedding_space.encoders.open_clip_encoder import OpenClipEncoder
from embedding_space.peers.npz import read_npz
from evaluation.encoders.known import KNOWN, VIT_B32, find_known
from evaluation.encoders.probe import Kind, Probe, in_full_precision

pytestmark = pytest.mark.usefixtures("tiny_models")

TEXTS = ("a diagram", "a dog", "a cat")


def blank(kind: Kind, rows: int = 1, **options) -> Probe:
    pictures = ("CLIP.png", "000000039769.jpg")[:rows]
    return Probe("made", TEXTS, ((0.0,) * 3,) * rows, "here", pictures=pictures, kind=kind, **options)


@pytest.fixture
def files(pictures):
    return {path.name: path for path in pictures.iterdir()}


def load(path, model="tiny-quickgelu") -> OpenClipEncoder:
    return OpenClipEncoder("tiny", model, str(path), device="cpu", batch_size=2)


@torch.no_grad()
def slow(encoder, files, hidden_colors=False) -> torch.Tensor:
    """open_clip's own forward pass, picture by picture and text by text."""
    rows = []
    for name in ("CLIP.png", "000000039769.jpg"):
        picture = Image.open(files[name])
        picture = encoder.preprocess(picture if hidden_colors else picture.convert("RGB"))[None]
        row = []
        for text in TEXTS:
            image, sentence, scale = encoder.model(picture, encoder.tokenizer([text]))
            row.append(scale * (image @ sentence.T)[0, 0])
        rows.append(torch.stack(row))
    return torch.stack(rows)


def test_values_are_those_of_open_clips_forward_pass(tiny_file, files):
    encoder = load(tiny_file)
    reference = slow(encoder, files).double()
    scale = encoder.model.logit_scale.exp().double()
    assert torch.allclose(blank("logits", 2).measure(encoder, files), reference, atol=1e-4)
    assert torch.allclose(blank("cosines", 2).measure(encoder, files), reference / scale, atol=1e-5)
    assert torch.allclose(blank("probabilities", 2).measure(encoder, files), reference.softmax(-1), atol=1e-5)
    hidden = blank("logits", 2, hidden_colors=True).measure(encoder, files)
    assert torch.allclose(hidden, slow(encoder, files, hidden_colors=True).double(), atol=1e-4)
    assert not torch.allclose(hidden[0], reference[0], atol=1e-4) and torch.allclose(hidden[1], reference[1], atol=1e-4)


def test_texts_alone_stand_on_both_sides_and_templates_are_averaged(tiny_file):
    encoder = load(tiny_file)
    probe = Probe("t", ("dog", "cat"), ((1.0, 0.0), (0.0, 1.0)), "here", templates=("a {}", "the {}."))
    rows = [encoder.encode_texts([f"a {word}", f"the {word}."]).mean(0) for word in ("dog", "cat")]
    expected = torch.nn.functional.cosine_similarity(rows[0], rows[1], dim=0).item()
    assert probe.measure(encoder)[0, 1].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ["cosines", "logits", "probabilities"])
def test_recorded_values_pass_and_another_activation_or_damage_fails(tiny_file, files, tmp_path, kind):
    probe = replace(blank(kind, 2), tolerance=1e-3).recorded(load(tiny_file), files)
    assert probe.verdict(probe.measure(load(tiny_file), files)) == "passed"
    gelu = probe.measure(load(tiny_file, "tiny"), files)
    assert probe.verdict(gelu) == "failed" and probe.difference(gelu) > 1e-3
    state = torch.load(tiny_file, weights_only=True)
    state["transformer.resblocks.1.mlp.c_proj.weight"][:8] = 0
    torch.save(state, tmp_path / "damaged.pt")
    assert probe.verdict(probe.measure(load(tmp_path / "damaged.pt"), files)) == "failed"
    state["ln_final.weight"][3] = float("nan")
    torch.save(state, tmp_path / "nan.pt")
    assert probe.verdict(probe.measure(load(tmp_path / "nan.pt"), files)) == "failed"


def test_a_doubtful_source_leaves_small_differences_unclear():
    probe = Probe("t", ("a", "b"), ((1.0, 0.8), (0.8, 1.0)), "here", tolerance=0.01, unclear_to=0.05)
    assert probe.verdict(torch.tensor([[1.0, 0.805], [0.805, 1.0]])) == "passed"
    assert probe.verdict(torch.tensor([[1.0, 0.84], [0.84, 1.0]])) == "unclear"
    assert probe.verdict(torch.tensor([[1.0, 0.9], [0.9, 1.0]])) == "failed"
    assert replace(probe, unclear_to=None).verdict(torch.tensor([[1.0, 0.84], [0.84, 1.0]])) == "failed"


def test_probabilities_are_compared_by_their_logarithms():
    probe = VIT_B32.probes[0]
    published = torch.tensor(probe.values)
    assert probe.verdict(published) == "passed"
    assert probe.verdict(published * torch.tensor([1.0, 1.05, 1.05])) == "passed"
    assert probe.verdict(published * torch.tensor([1.0, 1.5, 1.0])) == "failed"  # 0.0063 for 0.0042


def test_values_must_fit_pictures_and_texts():
    with pytest.raises(ValueError, match="needs values of 2 rows and 2 columns"):
        Probe("t", ("a", "b"), ((1.0, 0.5),), "here")
    with pytest.raises(ValueError, match="no pictures, so that its values must be cosines"):
        Probe("t", ("a",), ((1.0,),), "here", kind="logits")


def test_probes_are_computed_in_full_precision(tiny_file):
    encoder = load(tiny_file)
    encoder.precision = "bf16"
    with in_full_precision(encoder):
        assert encoder.precision == "fp32"
    assert encoder.precision == "bf16"


def test_weights_are_recognized_by_their_tag_or_hash():
    assert find_known({"model": "ViT-B/32-quickgelu", "pretrained": "openai"}) == ("ViT-B-32.openai", VIT_B32)
    by_hash = find_known({"model": "ViT-L-14", "pretrained": "x.pt", "sha256": KNOWN["ViT-L-14.openai"].sha256})
    assert by_hash is not None and by_hash[0] == "ViT-L-14.openai"
    assert find_known({"model": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"}) is None
    assert find_known({"name": "words"}) is None


@pytest.mark.shared
@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-L-14"])
def test_published_text_cosines_are_those_of_pcm_nets_file(name):
    shared = Path(os.environ.get("DIFFUSION_BRIDGE_SHARED", Path(__file__).resolve().parents[4] / "shared"))
    path = shared / "clip_concepts" / f"{name}.npz"
    if not path.is_file():
        pytest.skip("PCM-Net's concepts are not here")
    probe, (words, embeddings) = KNOWN[f"{name}.openai"].probes[-1], read_npz(path, "names", "embeddings")
    names = [str(word) for word in words]
    rows = torch.from_numpy(embeddings[[names.index(word) for word in probe.texts]]).double()
    rows = torch.nn.functional.normalize(rows, dim=-1)
    assert probe.verdict(rows @ rows.T) == "passed" and probe.difference(rows @ rows.T) < 6e-5
