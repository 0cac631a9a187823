"""experiment=diffusion_bridge_reference: the authors' values, and its stages one after the other on a tiny world."""

from __future__ import annotations

import json

import pytest
import torch
from omegaconf import OmegaConf
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from alignment.options import step_entries
from common.config import compose_config
from ddpm.bridge import load_text_diffusion
from ddpm.training_run import train as train_diffusion
from embedding_space.store import EmbeddingStore
from image_captioning.alignments import STEPS
from image_captioning.captioner import Captioner
from image_captioning.generation import Decoding
from image_captioning.training_run import train as train_captioner
from training.loop_config import LoopConfig

EXPERIMENT = "experiment=diffusion_bridge_reference"


def composed(stage: str) -> dict:
    return OmegaConf.to_container(compose_config(stage, EXPERIMENT), resolve=True)


def test_the_diffusion_model_is_the_references():
    config = composed("ddpm")
    assert (config["dataset"]["name"], config["encoder"]["name"]) == ("coco", "ViT-B-32-quickgelu.openai")
    assert config["denoiser"] | {"kind": "unet1d", "width": 32, "multipliers": [1, 2, 4, 8]} == config["denoiser"]
    assert config["diffusion"] == {
        "timesteps": 1000, "schedule": "cosine", "objective": "pred_x0", "loss_weighting": "snr", "embed_scale": 5.0,
        "renormalize_state": True,
    }  # fmt: skip
    loop = LoopConfig(**config["loop"])
    assert (loop.learning_rate, loop.betas, loop.weight_decay, loop.batch_size) == (8e-5, (0.9, 0.99), 0.0, 64)
    assert (loop.steps, loop.schedule, loop.warmup_steps, loop.precision) == (3_000_000, "constant", 0, "fp16")
    assert (loop.clip_norm, loop.ema_decay, loop.ema_every) == (1.0, 0.995, 10)


def test_the_decoder_is_the_references():
    config = composed("image_captioning")
    assert (config["decoder"]["pretrained"], config["decoder"]["train_decoder"]) == ("gpt2", True)
    assert config["decoder"]["mapper"] == {"kind": "mlp", "prefix_length": 10}
    bridge = step_entries(config["alignment"], STEPS)[3]
    assert bridge.pop("diffusion") == "outputs/ddpm/coco_diffusion_bridge_reference_seed0"
    assert bridge == {
        "step": "DiffusionBridge", "text_timestep": 400, "text_steps": 5, "image_timestep": 600, "image_steps": 5,
        "eta": 0.0,
    }  # fmt: skip
    assert (config["text_noise"], config["epochs"], config["loop"]["steps"]) == ("once", 10, None)
    loop = LoopConfig(**{**config["loop"], "steps": 1})
    assert (loop.learning_rate, loop.batch_size, loop.warmup_steps, loop.schedule) == (2e-5, 40, 5000, "linear")
    evaluation = compose_config("eval_coco", EXPERIMENT)
    assert (evaluation.decoding.strategy, evaluation.decoding.max_new_tokens) == ("greedy", 39)
    assert evaluation.checkpoint == "outputs/image_captioning/coco_diffusion_bridge_reference_seed0"


def test_each_stage_finds_the_one_before_for_another_data_set_too():
    diffusion = compose_config("ddpm", EXPERIMENT, "dataset=flickr30k")
    captioner = compose_config("image_captioning", EXPERIMENT, "dataset=flickr30k", "alignment.image_timestep=400")
    evaluation = compose_config("eval_coco", EXPERIMENT, "dataset=flickr30k")
    assert captioner.alignment.diffusion == diffusion.output_dir
    assert evaluation.checkpoint == captioner.output_dir and captioner.store == evaluation.store == diffusion.store
    assert captioner.alignment.image_timestep == 400


@pytest.mark.parametrize("experiment", ["diffusion_bridge_coco", "diffusion_bridge_reference"])
def test_other_alignments_take_the_experiments_decoder(experiment):
    bridge = compose_config("image_captioning", f"experiment={experiment}")
    for name in ("c1", "c2_collapse", "c2_corrupt", "c3", "decap_memory"):
        config = compose_config("image_captioning", f"experiment={experiment}", f"alignment={name}")
        assert config.alignment.name == name and config.loop == bridge.loop and config.decoder == bridge.decoder


@pytest.fixture
def gpt2_folder(tmp_path):
    folder = tmp_path / "gpt2"
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(["a dog and a cat on a beach"] * 3, vocab_size=300, special_tokens=["<|endoftext|>"])
    end = bpe.token_to_id("<|endoftext|>")
    config = GPT2Config(vocab_size=bpe.get_vocab_size(), n_embd=16, n_layer=1, n_head=2, n_positions=64,
                        bos_token_id=end, eos_token_id=end)  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    bpe.save(str(folder / "tokenizer.json"))
    return folder


def test_its_stages_run_one_after_the_other_at_a_small_size(make_store, gpt2_folder, tmp_path):
    store = make_store(dim=16)
    common = [EXPERIMENT, f"store={store.path}", "loop.precision=no"]
    train_diffusion(
        compose_config(
            "ddpm",
            *common,
            f"output_dir={tmp_path / 'ddpm'}",
            "loop.steps=30",
            "denoiser.width=8",
            "denoiser.multipliers=[1,2]",
        )
    )
    diffusion = load_text_diffusion(tmp_path / "ddpm")
    assert diffusion.options()["loss_weighting"] == "snr" and diffusion.embed_scale == 5
    captioner_options = [
        *common, f"output_dir={tmp_path / 'captioner'}", f"alignment.diffusion={tmp_path / 'ddpm'}",
        f"decoder.pretrained={gpt2_folder}", "epochs=1", "loop.evaluate_every=2", "loop.warmup_steps=1",
    ]  # fmt: skip
    figures = train_captioner(compose_config("image_captioning", *captioner_options))
    assert figures["text_loss"] > 0
    assert json.loads((tmp_path / "captioner" / "finished.json").read_text())["steps"] == 5  # 200 captions by 40
    captioner = Captioner.load(tmp_path / "captioner")
    assert captioner.alignment.options()[3]["diffusion"]["embed_scale"] == 5
    decoding = Decoding(**compose_config("eval_coco", EXPERIMENT).decoding)
    captions = captioner.caption_images(EmbeddingStore(store.path).images("test"), decoding, progress=False)
    assert len(captions) == 40 and torch.isfinite(captioner.align_images(store.images("test"))).all()
