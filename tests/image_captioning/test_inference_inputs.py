"""Evaluating on another data set than the training one: where the image mean comes from, and scores part by part."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from alignment.chain import Alignment
from embedding_space.store import EmbeddingStore
from embedding_space.tables import read_tables, write_tables
from evaluation.captions.result import EvaluatedOn
from evaluation.captions.scoring_options import Scoring
from evaluation.captions.tables import metrics_table
from image_captioning.alignments import STEPS
from image_captioning.evaluate import evaluate_captioner
from image_captioning.generation import Decoding
from image_captioning.inference_inputs import InferenceInputs, as_trained_on, check_encoder
from image_captioning.run_names import run_name
from modality_translation.step import ModalityTranslation
from modality_translation.translation import Translation

CENTERED = [{"step": "Normalize"}, {"step": "Center"}, {"step": "Normalize"}]
DOMAINS = ("test/in-domain", "test/near-domain")


@pytest.fixture
def store(make_store):
    """A store whose test split has two parts, the even and the odd images."""
    made = make_store(dim=8)
    tables = read_tables(made.path.parent)
    images, captions = tables.images.to_pylist(), tables.captions.to_pylist()
    for row, image in enumerate(images):
        image["split"] = DOMAINS[row % 2] if image["split"] == "test" else image["split"]
    for caption in captions:
        if caption["split"] == "test":
            caption["split"] = images[caption["image_row"]]["split"]
    manifest = json.loads((made.path / "manifest.json").read_text())
    manifest["tables_hash"] = write_tables(tables.root, images, captions).hash
    (made.path / "manifest.json").write_text(json.dumps(manifest))
    return EmbeddingStore(made.path)


@pytest.fixture
def captioner(make_captioner, store):
    """One that was trained elsewhere, with an image mean from there."""
    made = make_captioner()
    made.alignment = Alignment.from_store(CENTERED, STEPS, store)
    made.alignment.steps[1].inference_mean.copy_(torch.linspace(-0.3, 0.3, 8))
    made.encoder_description = store.manifest.encoder
    made.provenance = {"dataset": "elsewhere", "store_hash": "abc", "image_mean_split": "train"}
    return made


def test_translated_images_are_not_in_the_space_of_the_texts(captioner, store):
    def chain(images: dict) -> Alignment:
        encoders = {"images": images, "texts": captioner.encoder_description}
        translation = Translation(8, 8, {"kind": "mlp", "width": 4}, directions=["image_to_text"], encoders=encoders)
        return Alignment(captioner.alignment.steps, ModalityTranslation.of(translation))

    foreign, own = chain({"name": "another"}), chain(captioner.encoder_description)
    decoding, encoder = Decoding("beam", beams=3, clip_weight=8.0), SimpleNamespace()
    assert own.reads_rows_of(captioner.encoder_description)
    assert not foreign.reads_rows_of(captioner.encoder_description)
    images = store.images("test")
    assert captioner.reranker(images, decoding, encoder, chain=own) is not None
    with pytest.raises(ValueError, match="images with sentences in one space"):
        captioner.reranker(images, decoding, encoder, chain=foreign)
    captioner.searches_images = True
    with pytest.raises(ValueError, match="are searched with the images' own rows"):
        check_encoder(captioner, store, alignment=foreign)
    captioner.alignment = foreign
    with pytest.raises(ValueError, match="are searched with the images' own rows"):
        captioner.caption_images(images)


@pytest.mark.java
def test_the_means_origin_is_recorded_and_each_part_scored_as_if_alone(captioner, store, tmp_path):
    own_mean = captioner.alignment.steps[1].inference_mean.clone()

    def evaluate(folder, split="test", **options):
        inputs = InferenceInputs(store, split, **options)
        return evaluate_captioner(captioner, inputs, tmp_path / folder, scoring=Scoring(["CIDEr"]))

    before = evaluate("a")
    assert before.image_mean == {"from": "checkpoint", "dataset": "elsewhere", "split": "train", "store_hash": "abc"}
    assert before.provenance["dataset"] == "elsewhere" and before.evaluated_on == EvaluatedOn("tiny", store.hash)

    after = evaluate("b", image_mean_from="store")
    assert after.image_mean == {"from": "store", "dataset": "tiny", "split": "pretrain", "store_hash": store.hash}
    assert after.gap.centroid_distance < before.gap.centroid_distance
    assert torch.equal(captioner.alignment.steps[1].inference_mean, own_mean)  # the captioner is as it was

    assert list(before.parts) == list(DOMAINS) and before.images == 40
    for name in DOMAINS:
        alone = evaluate("c", name)
        assert before.parts[name].metrics == alone.metrics and alone.images == 20
        assert alone.parts is None
    assert "test/near-domain" in metrics_table(before).text()


def test_a_captioner_of_fewer_captions_gets_those_of_its_own_store_alone(captioner, store):
    assert as_trained_on(store, captioner) is store
    captioner.provenance["part_of"] = {"store_hash": store.hash, "captions": 10}
    assert as_trained_on(store, captioner).hash == store.with_captions(10).hash
    captioner.provenance["part_of"] = {"store_hash": "abc", "captions": 10_000}
    assert as_trained_on(store, captioner) is store


def test_a_mean_that_is_not_there_is_told(captioner, make_captioner, store, tmp_path):
    with pytest.raises(ValueError, match="image_mean_from='test' must be one of checkpoint, store"):
        InferenceInputs(store, "test", image_mean_from="test")
    plain = make_captioner()
    plain.encoder_description = captioner.encoder_description
    with pytest.raises(ValueError, match="subtracts no image mean"):
        evaluate_captioner(plain, InferenceInputs(store, "test", image_mean_from="store"), tmp_path)
    captioner.alignment.steps[1].inference_mean.fill_(torch.nan)  # as of a text-only corpus
    with pytest.raises(ValueError, match="image_mean_from=store"):
        evaluate_captioner(captioner, InferenceInputs(store, "test"), tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        {"name": "photo", "kind": "towers", "heads": "there", "sha256": "2"},
        {"name": "photo", "kind": "towers", "image_tower": {"model": "vit"}, "text_tower": {"model": "bert"}},
    ],
)
def test_a_captioner_is_not_evaluated_on_another_tower_clips_embeddings(captioner, store, tmp_path, other):
    captioner.encoder_description = {"name": "photo", "kind": "towers", "heads": "here", "sha256": "1"}
    store.manifest = replace(store.manifest, encoder=other)
    with pytest.raises(ValueError, match="choose the store of the same encoder"):
        evaluate_captioner(captioner, InferenceInputs(store, "test"), tmp_path)
    captioner.encoder_description = (
        {**other, "text_tower": {"model": "gpt"}} if "text_tower" in other else captioner.encoder_description
    )
    with pytest.raises(ValueError, match="choose the store of the same encoder"):
        evaluate_captioner(captioner, InferenceInputs(store, "test"), tmp_path)


def test_an_evaluation_on_another_data_set_has_a_folder_of_its_own(tmp_path):
    (tmp_path / "coco_c3").mkdir()
    (tmp_path / "coco_c3/config.json").write_text(json.dumps({"provenance": {"dataset": "coco"}}))

    def name(dataset, origin="checkpoint"):
        decoding = {"strategy": "greedy"}
        return run_name(str(tmp_path / "coco_c3"), dataset, origin, "val", "images", decoding, {}, None, "auto", None)

    assert name("coco") == "coco_c3_val_greedy"
    assert name("nocaps") == "coco_c3_val_greedy_on_nocaps"
    assert name("flickr30k", "store") == "coco_c3_val_greedy_on_flickr30k_image_mean_from_store"


@pytest.mark.parametrize(
    ("decoding", "ending"),
    [
        (["decoding=greedy"], "test_greedy"),
        (["decoding=beam"], "test_beam5"),
        (["decoding=beam3"], "test_beam3"),
        (["decoding=beam", "decoding.beams=2"], "test_beam2"),
        (["decoding=nucleus"], "test_nucleus"),
        (["decoding=nucleus", "decoding.top_p=0.8", "decoding.seed=1"], "test_nucleus_top_p0.8_seed1"),
        (["decoding=beam3", "decoding.length_penalty=-0.5"], "test_beam3_length_penalty-0.5"),
        (["decoding.max_new_tokens=20"], "test_greedy_max_new_tokens20"),
        (["precision=bf16"], "test_greedy_bf16"),
        (["precision=fp32"], "test_greedy_fp32"),
        (["+decoding.beams=3"], "test_greedy"),  # the evaluation refuses it
        (
            ["image_side.image_timestep=300", "image_side.temperature=.02"],
            "test_greedy_image_timestep300_temperature0.02",
        ),
        (["alignment=memory_bridge", "image_side.image_steps=2"], "test_greedy_through_memory_bridge_image_steps2"),
    ],
)
def test_each_way_of_captioning_has_a_folder_of_its_own(compose, decoding, ending):
    config = compose("eval_coco", "checkpoint=runs/c3", *decoding)
    assert config.output_dir == f"outputs/evaluation/c3_{ending}"
