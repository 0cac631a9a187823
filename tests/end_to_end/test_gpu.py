"""On a CUDA device everything comes out as on the CPU: python -m pytest -m gpu."""

from __future__ import annotations

import pytest
import torch

from alignment.chain import Alignment
from ddpm.bridge import load_text_diffusion, reverse_diffusion
from ddpm.training_run import train as train_ddpm
from image_captioning.alignments import STEPS
from image_captioning.build import build_captioner
from image_captioning.generation import Decoding, EncodedImages, generate
from image_captioning.tokenizer import train_tokenizer
from image_captioning.training_run import train
from pcm_net.decoder import DecoderOptions, make_decoder
from training.run_folder import METRICS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.fixture
def on(monkeypatch):
    """`on("cuda")`: what follows runs there."""
    return lambda device: monkeypatch.setenv("DIFFUSION_BRIDGE_DEVICE", device)


@pytest.fixture
def captioner():
    torch.manual_seed(0)
    captions = ["a dog on a beach", "two cats and a boat", "a red car near the old house", "one bird"]
    steps = [{"step": "Normalize"}, {"step": "GaussianNoise", "noise_std": 0.1}, {"step": "Normalize"}]
    made = build_captioner(
        dim=8, alignment=Alignment.from_options(steps, STEPS), tokenizer=train_tokenizer(captions),
        mapper={"kind": "mlp", "prefix_length": 3}, encoder={"name": "words"}, provenance={},
        config={"n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 48},
    )  # fmt: skip
    for parameter in made.parameters():
        parameter.data *= 8 if parameter.ndim > 1 else 1  # clear choices
    return made.eval()


@pytest.mark.parametrize("decoding", [Decoding(), Decoding("beam", beams=3), Decoding("nucleus", seed=3)])
def test_captions_and_their_likelihoods_are_the_same(captioner, decoding):
    rows = torch.nn.functional.normalize(torch.randn(40, 8), dim=-1)
    here = captioner.caption(rows, decoding, progress=False)
    likelihoods, _ = captioner.log_likelihoods(rows, here)
    captioner.cuda()
    there = captioner.caption(rows, decoding, progress=False)
    assert sum(a == b for a, b in zip(here, there, strict=True)) >= 38  # rounding may decide between equal words
    torch.testing.assert_close(captioner.log_likelihoods(rows, here)[0], likelihoods, atol=1e-2, rtol=1e-3)


def test_cross_attention_generates_the_same():
    torch.manual_seed(0)
    decoder = make_decoder(30, 16, 0, DecoderOptions(layers=2, heads=2, feedforward=32)).eval()
    encoded = EncodedImages(3 * torch.randn(20, 7, 16), torch.rand(20, 7) < 0.8)
    encoded.mask[:, 0] = True
    ids = []
    for device in ("cpu", "cuda"):
        decoder.to(device)
        moved = EncodedImages(encoded.states.to(device), encoded.mask.to(device))
        prefix = decoder.get_input_embeddings()(torch.zeros(20, 1, dtype=torch.long, device=device))
        ids.append(generate(decoder, prefix, Decoding(max_new_tokens=8), 0, [], encoded=moved).cpu())
    assert (ids[0] == ids[1]).float().mean() > 0.9


def losses(folder) -> list[str]:
    return (folder / METRICS).read_text().splitlines()


def test_trainings_run_resume_and_measure_there(make_store, compose, on, tmp_path):
    store, small = make_store(), ("loop.steps=4", "loop.batch_size=16", "loop.log_every=1")
    on("cuda")
    train_ddpm(
        compose("ddpm", f"store={store.path}", f"output_dir={tmp_path / 'ddpm'}", "denoiser.width=32", *small,
                "validation_rows=20", "validation_split=val")
    )  # fmt: skip
    for alignment in ("c3", "diffusion_bridge", "decap_memory"):
        bridge = (f"alignment.diffusion={tmp_path / 'ddpm'}",) if alignment == "diffusion_bridge" else ()
        metrics = train(
            compose("image_captioning", f"store={store.path}", f"output_dir={tmp_path / alignment}", *small, *bridge,
                    f"alignment={alignment}", "validation_captions=20", "loop.precision=auto")
        )  # fmt: skip
        assert metrics["text_loss"] > 0 and len(losses(tmp_path / alignment)) >= 4


def test_the_bridge_is_the_same(make_store, compose, tmp_path):
    store = make_store()
    train_ddpm(
        compose("ddpm", f"store={store.path}", f"output_dir={tmp_path / 'ddpm'}", "denoiser.width=32", "loop.steps=4",
                "loop.batch_size=16", "validation_rows=20", "validation_split=val")
    )  # fmt: skip
    diffusion, rows = load_text_diffusion(tmp_path / "ddpm").cpu(), store.images("test")
    here = reverse_diffusion(diffusion, rows, 300, 5)
    there = reverse_diffusion(diffusion.cuda(), rows.cuda(), 300, 5).cpu()
    torch.testing.assert_close(here, there, atol=1e-3, rtol=1e-3)
