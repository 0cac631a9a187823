"""modality_translation.train on tiny stores: it learns, resumes exactly, takes two encoders, feeds any captioner."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from alignment.chain import Alignment
from evaluation.captions.scoring_options import Scoring
from image_captioning.alignments import STEPS
from image_captioning.captioner import Captioner
from image_captioning.evaluate import evaluate_captioner
from image_captioning.inference_inputs import InferenceInputs
from image_captioning.training_run import train as train_captioner
from modality_translation.baselines import Linear, Mean, NearestNeighbors
from modality_translation.measure import share_above, translation_metrics, untranslated_metrics
from modality_translation.pairs import PairedStores
from modality_translation.step import ModalityTranslation, check_encoder
from modality_translation.task import TranslationTask
from modality_translation.training_run import train
from modality_translation.translation import load_translation
from modality_translation.tuning import best_of, best_sampling

DIRECTIONS = ("image_to_text", "text_to_image")
NORMALIZE = {"step": "Normalize"}
CAPTIONER = (
    "decoder.config.n_layer=1", "decoder.config.n_embd=16", "decoder.config.n_head=2", "decoder.mapper.prefix_length=2",
    "loop.steps=2", "loop.batch_size=16", "loop.warmup_steps=0", "loop.precision=no",
)  # fmt: skip


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_training_learns_between_two_widths_and_leaves_a_loadable_translation(configured, tmp_path):
    alone = "sampling.terms=ddim"  # a projection in closed form would be good without any training
    figures = train(configured("run", alone, towers=True, steps=150))
    assert set(figures) == {"sim_txt", "sim_img", "dissimilarity", *(f"{name}_recall_at_1" for name in DIRECTIONS)}
    losses = [line["loss"] for line in lines(tmp_path / "run") if "loss" in line]
    assert losses[-1] < 0.9 * losses[0]
    translation = load_translation(tmp_path / "run")
    assert translation.dims == {"images": 24, "texts": 12} and translation.provenance["uses_pairs"] is True
    stores = PairedStores(configured.towers().path, configured.towers().path)
    metrics = translation_metrics(translation, stores.pairs("val"), DIRECTIONS)
    assert metrics["image_to_text"].similarity == pytest.approx(figures["sim_txt"], abs=1e-5)
    untrained = train(configured("untrained", alone, towers=True, steps=1))
    assert figures["sim_txt"] > untrained["sim_txt"] + 0.1 and figures["sim_img"] > untrained["sim_img"] + 0.1
    assert not stores.is_joint


def test_an_interrupted_run_goes_on_exactly_and_a_finished_one_is_used_again(configured, tmp_path, monkeypatch, capsys):
    overrides = ("model.ridge=1e-3", "model.target=residual", "loop.ema_decay=0.9")
    figures, loss = train(configured("whole", *overrides, steps=6)), TranslationTask.loss

    def interrupting(self, model, random):
        if random.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(self, model, random)

    monkeypatch.setattr(TranslationTask, "loss", interrupting)
    with pytest.raises(KeyboardInterrupt, match="step 3 of 6"):
        train(configured("parts", *overrides, steps=6))
    monkeypatch.setattr(TranslationTask, "loss", loss)
    assert train(configured("parts", *overrides, steps=6)) == figures
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    train(configured("parts", *overrides, steps=6))
    assert "Already trained" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"sampling\.gamma.*overwrite=true"):
        train(configured("parts", *overrides, "sampling.gamma=2", steps=6))


@pytest.mark.parametrize(
    "overrides",
    [
        ("translator@model=mlp", "model.width=8"),
        ("sampling.terms=projection", "model.projection=joint", "model.ridge=0"),
        ("sampling.terms=ddim", "directions=[image_to_text]"),
        ("model.reconstruction_steps=2", "model.cdim.objective=pred_x0"),
        ("loop.precision=bf16", "loop.gradient_accumulation=2", "loop.keep=sim_txt", "loop.evaluate_every=1"),
    ],
)
def test_every_kind_trains(configured, tmp_path, overrides):
    figures = train(configured("run", *overrides))
    assert all(torch.isfinite(torch.tensor(value)) for value in figures.values())
    load_translation(tmp_path / "run")


def test_two_encoders_share_a_data_set_and_other_tables_are_refused(configured, make_store, tmp_path, monkeypatch):
    store, towers = configured.store, configured.towers()
    stores = PairedStores(towers.path, store.path)
    assert stores.dims == {"images": 24, "texts": 16} and not stores.is_joint
    pairs = stores.pairs("val")
    assert torch.equal(pairs.images, F.normalize(towers.images("val"), dim=-1))
    assert torch.equal(pairs.image_row, torch.from_numpy(store.pairs("val")))
    for direction, wanted in (
        ("image_to_text", (pairs.images, pairs.texts)),
        ("text_to_image", (pairs.texts, pairs.images)),
    ):
        conditions, targets, row_of = pairs.between(direction)
        assert conditions is wanted[0] and targets is wanted[1]
        assert torch.equal(row_of[0 if direction == "image_to_text" else 1], pairs.image_row)
    train(configured("mixed", f"image_store={towers.path}"))
    assert load_translation(tmp_path / "mixed").dims == {"images": 24, "texts": 16}
    # The words' captioner reads the towers' images through it.
    step = {"step": "ModalityTranslation", "translation": str(tmp_path / "mixed")}
    chain = Alignment.from_store([NORMALIZE, step, NORMALIZE], STEPS, store)
    assert chain.inference_dim == 24 and chain.inference_encoder["name"] == "towers" and chain.uses_pairs
    with pytest.raises(ValueError, match=r"trained on texts of the encoder 'words', but the store .* of 'towers'"):
        Alignment.from_store([NORMALIZE, step, NORMALIZE], STEPS, towers)
    monkeypatch.setattr(stores.texts, "manifest", replace(stores.texts.manifest, tables_hash="0"))
    monkeypatch.setattr("modality_translation.pairs.EmbeddingStore", lambda path: path)
    with pytest.raises(ValueError, match="are of other tables"):
        PairedStores(stores.images, stores.texts)


def test_baselines_do_what_they_say_and_the_best_is_chosen_on_validation(configured, monkeypatch):
    stores = PairedStores(configured.towers().path, configured.towers().path)
    training, validation = stores.pairs("pretrain"), stores.pairs("val")
    nearest = NearestNeighbors(training, 3)
    for image, made in zip(
        validation.images[:5], nearest.translate(validation.images[:5], "image_to_text"), strict=True
    ):
        found = sorted(range(48), key=lambda row: -float(training.images[row] @ image))[:3]
        slow = sum(text for row, text in zip(training.image_row.tolist(), training.texts, strict=True) if row in found)
        torch.testing.assert_close(made, F.normalize(slow, dim=-1))
    by_caption = nearest.translate(validation.texts, "text_to_image")
    found = (validation.texts[7] @ training.texts.T).topk(3).indices
    slow = F.normalize(training.images[training.image_row[found]].sum(dim=0), dim=-1)
    torch.testing.assert_close(by_caption[7], slow)
    monkeypatch.setattr("modality_translation.baselines.SIMILARITIES_AT_ONCE", 1)
    torch.testing.assert_close(nearest.translate(validation.texts, "text_to_image"), by_caption)
    with pytest.raises(ValueError, match=r"neighbours=49 must be in 1\.\.48"):
        NearestNeighbors(training, 49)
    made = Mean(training).translate(validation.texts, "text_to_image")
    torch.testing.assert_close(made[3], F.normalize(training.images[training.image_row].mean(0), dim=-1))
    linear = {ridge: Linear(training, ridge) for ridge in (1e3, 1e-3)}
    similarity = {
        ridge: translation_metrics(each, validation, DIRECTIONS)["image_to_text"].similarity
        for ridge, each in linear.items()
    }
    assert similarity[1e-3] > similarity[1e3] and best_of(linear, validation, "image_to_text") == 1e-3


def test_measures_of_a_perfect_translation_and_of_a_joint_space(configured):
    stores = PairedStores(configured.store.path, configured.store.path)
    pairs = stores.pairs("val")

    class Perfect:
        def translate(self, rows, direction, **sampling):
            return pairs.images[pairs.image_row] if direction == "text_to_image" else pairs.texts[::2]

    perfect = translation_metrics(Perfect(), pairs, ("text_to_image",))["text_to_image"]
    assert perfect.similarity == pytest.approx(1, abs=1e-5) and perfect.median_rank < 3
    assert share_above(Perfect(), pairs, "text_to_image", 0.99) == 1
    plain = untranslated_metrics(pairs)
    assert plain["image_to_text"].similarity == pytest.approx(
        (pairs.images[pairs.image_row] * pairs.texts).sum(-1).mean().item(), abs=1e-5
    )
    assert stores.is_joint and 0 < plain["text_to_image"].recall_at_1 <= 1


def test_the_grids_best_is_chosen_under_the_settings_it_is_measured_with(configured, tmp_path, monkeypatch):
    train(configured("run"))
    translation = load_translation(tmp_path / "run")
    pairs = PairedStores(configured.store.path, configured.store.path).pairs("val")
    grid = {"gamma": [0.0, 1.0], "guidance_scale": [0.0, 2.0]}
    chosen = best_sampling(translation, pairs, "image_to_text", grid)
    similarity = {
        (gamma, scale): translation_metrics(translation, pairs, ("image_to_text",), gamma=gamma, guidance_scale=scale)[
            "image_to_text"
        ].similarity
        for gamma in (0.0, 1.0)
        for scale in (0.0, 2.0)
    }
    assert similarity[chosen["gamma"], chosen["guidance_scale"]] == max(similarity.values())
    asked = []
    monkeypatch.setattr(
        translation, "translate_each", lambda *args, **options: asked.append(options) or [pairs.texts[::2]]
    )
    best_sampling(
        translation, pairs, "image_to_text", {"guidance_scale": [0.0, 2.0]}, {"steps": 1, "guidance_scale": 9}
    )
    assert asked == [{"steps": 1, "guidance_scale": 0.0}, {"steps": 1, "guidance_scale": 2.0}]


def test_captions_of_towers_without_a_joint_space(configured, compose, tmp_path):
    train(configured("run", towers=True))
    store = configured.towers()
    captioner_config = compose(
        "image_captioning", "alignment=modality_translation", f"alignment.translation={tmp_path / 'run'}",
        "alignment.ddim_steps=2", "alignment.noise_std=0.1", f"store={store.path}",
        f"output_dir={tmp_path / 'captioner'}", *CAPTIONER,
    )  # fmt: skip
    train_captioner(captioner_config)
    captioner = Captioner.load(tmp_path / "captioner")
    assert captioner.dim == 12 and captioner.provenance["uses_pairs"] is True
    assert captioner.image_encoder_description["name"] == "towers"
    images = store.images("test")
    translation = load_translation(tmp_path / "run")
    torch.testing.assert_close(
        captioner.align_images(images), translation.translate(F.normalize(images), "image_to_text", steps=2)
    )
    inputs = InferenceInputs(store, "test")
    result = evaluate_captioner(captioner, inputs, tmp_path / "scores", scoring=Scoring(["BLEU"]))
    assert result.uses_pairs is True and result.images == 48
    with pytest.raises(ValueError, match="reads embeddings of 24 dimensions"):
        captioner.caption_images(images[:, :12])
    with pytest.raises(ValueError, match="made by separate towers"):
        train_captioner(
            compose(
                "image_captioning", "alignment=c1", f"store={store.path}", f"output_dir={tmp_path / 'c1'}", *CAPTIONER
            )
        )


def test_any_captioner_can_be_fed_translated_images(configured, compose, tmp_path):
    train(configured("run"))
    store = configured.store
    train_captioner(
        compose("image_captioning", "alignment=c3", f"store={store.path}", f"output_dir={tmp_path / 'c3'}", *CAPTIONER)
    )
    captioner, translation = Captioner.load(tmp_path / "c3"), load_translation(tmp_path / "run")
    check_encoder(translation, "texts", captioner.encoder_description, "the captioner", "run")
    own = captioner.alignment
    captioner.alignment = Alignment(own.steps, ModalityTranslation.of(translation))
    images = F.normalize(store.images("test"), dim=-1)
    torch.testing.assert_close(
        captioner.align_images(images), own.clean_side(translation.translate(images, "image_to_text"))
    )
    assert not captioner.alignment.centers_inference_rows and captioner.alignment.uses_pairs
    torch.testing.assert_close(captioner.align_texts(images), own.clean_side(images))
    assert len(captioner.caption_images(images[:3], progress=False)) == 3


@pytest.mark.parametrize("terms", ["projection", "ddim"])
def test_the_step_holds_what_its_terms_need(configured, tmp_path, terms):
    train(configured("run"))
    step = {"step": "ModalityTranslation", "translation": str(tmp_path / "run"), "terms": terms}
    chain = Alignment.from_store([NORMALIZE, step, NORMALIZE], STEPS, configured.store)
    rebuilt = Alignment.from_options(json.loads(json.dumps(chain.options())), STEPS)
    rebuilt.load_state_dict(chain.state_dict())
    other = {"projection": "cdim", "ddim": "projection"}[terms]
    assert chain.state_dict() and not any(f".{other}." in name for name in chain.state_dict())
    images = configured.store.images("test")
    made = load_translation(tmp_path / "run").translate(images, "image_to_text", terms=terms)
    torch.testing.assert_close(rebuilt.eval().inference_side(images), made, rtol=0, atol=1e-3)
    train(configured("one", f"sampling.terms={terms}", "model.projection=joint", "model.ridge=0"))
    step = {**step, "translation": str(tmp_path / "one"), "terms": "both"}
    with pytest.raises(ValueError, match=f"terms=both needs a part .*sampling.terms={terms}"):
        Alignment.from_store([NORMALIZE, step, NORMALIZE], STEPS, configured.store)


def test_nothing_to_train_is_refused(configured, tmp_path):
    with pytest.raises(ValueError, match=r"leaves nothing to train: set model\.projection=joint"):
        train(configured("run", "sampling.terms=projection"))
    assert not (tmp_path / "run").exists()


def test_the_step_is_rebuilt_from_json_and_has_its_place(configured, tmp_path):
    train(configured("run"))
    step = {"step": "ModalityTranslation", "translation": str(tmp_path / "run"), "gamma": 0.5, "ddim_steps": 2}
    chain = Alignment.from_store([NORMALIZE, step, NORMALIZE], STEPS, configured.store)
    options = json.loads(json.dumps(chain.options()))
    rebuilt = Alignment.from_options(options, STEPS)
    rebuilt.load_state_dict(chain.state_dict())
    images = configured.store.images("test")
    assert torch.equal(rebuilt.eval().inference_side(images), chain.inference_side(images))
    assert options[1]["translation"]["sampling"] | {"gamma": 0.5, "steps": 2} == options[1]["translation"]["sampling"]
    assert options[1]["translation"]["directions"] == ["image_to_text"]
    torch.testing.assert_close(chain.training_side(images), F.normalize(images, dim=-1))
    assert not ModalityTranslation.changes_training_rows
    with pytest.raises(ValueError, match="must directly follow one Normalize"):
        Alignment.from_store([step, NORMALIZE], STEPS, configured.store)
    with pytest.raises(FileNotFoundError, match=r"No translation in nowhere"):
        Alignment.from_store([NORMALIZE, {**step, "translation": "nowhere"}, NORMALIZE], STEPS, configured.store)
