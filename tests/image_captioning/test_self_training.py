"""train_on=images: a captioner writes the captions of unpaired images, and another one learns from them."""

import json

import pytest

from evaluation.captions.training_text import TrainingSource
from image_captioning.captioner import Captioner
from image_captioning.consensus import memory_of
from image_captioning.generation import Decoding
from image_captioning.method_class import method_class
from image_captioning.training_run import train

SMALL = (
    "decoder.config.n_layer=1", "decoder.config.n_embd=16", "decoder.config.n_head=2", "decoder.mapper.prefix_length=2",
    "loop.batch_size=20", "loop.steps=4", "loop.warmup_steps=0", "loop.precision=no", "validation_captions=10",
)  # fmt: skip
LONG = ("loop.steps=150", "loop.learning_rate=0.01")
CONSENSUS = Decoding("beam", beams=10, consensus_weight=50.0)


@pytest.fixture
def store(make_store):
    return make_store()


@pytest.fixture
def config(compose, store, tmp_path):
    def made(name: str, *overrides: str):
        return compose("image_captioning", "alignment=c3", *SMALL, f"store={store.path}",
                       f"output_dir={tmp_path / name}", *overrides)  # fmt: skip

    return made


@pytest.fixture
def taught(config, tmp_path):
    train(config("first", *LONG))
    return "train_on=images", "decoding@teacher=consensus", f"init_from='{tmp_path / 'first'}'"


def written(folder) -> list[str]:
    return json.loads((folder / "pseudo_captions.json").read_text())["captions"]


def test_it_learns_what_the_first_one_writes_of_the_unpaired_images(config, taught, store, tmp_path):
    train(config("second", *taught, *LONG))
    split = store.manifest.image_mean_split
    images, captions = store.images(split), written(tmp_path / "second")
    memory = memory_of(TrainingSource(store, store.text_split))
    assert captions == Captioner.load(tmp_path / "first").caption_images(images.float(), CONSENSUS, memory=memory)
    second = Captioner.load(tmp_path / "second")
    before, after = (
        sum(ours == theirs for ours, theirs in zip(each.caption_images(images.float()), captions, strict=True))
        for each in (Captioner.load(tmp_path / "first"), second)
    )
    assert before < after  # greedily it writes more of what the first one wrote with ten beams and the consensus

    seen = second.provenance
    assert seen["train_on"] == "images" and not seen["uses_pairs"] and seen["captions"] == len(images)
    assert seen["self_training"]["images"] == len(images) and seen["self_training"]["split"] == split
    assert seen["train_split"] == store.text_split  # the text that the first one learned from
    assert method_class(second.alignment, seen) == "text + text memory + unpaired images"


def test_an_interrupted_training_goes_on_with_the_captions_that_were_written(
    config, taught, tmp_path, interrupted, monkeypatch
):
    options = (*taught, "train_captions=12", "loop.checkpoint_every=1")
    train(config("whole", *options))
    assert len(written(tmp_path / "whole")) == 12
    interrupted(lambda: train(config("halves", *options)))
    monkeypatch.setattr(Captioner, "caption_images", None)  # nothing is written anew
    train(config("halves", *options))
    whole, halves = Captioner.load(tmp_path / "whole"), Captioner.load(tmp_path / "halves")
    assert whole.weights_hash() == halves.weights_hash()
    with pytest.raises(TypeError):  # other images, whose captions have to be written
        train(config("halves", *options, "seed=1", "overwrite=true"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["train_on=images"], "name it with init_from=.* and how it writes them with decoding@teacher=consensus"),
        (["train_on=images", "decoding@teacher=beam"], "name it with init_from="),
        (["decoding@teacher=beam"], r"decoding@teacher=\.\.\. writes captions for train_on=images alone: leave it out"),
        (["train_on=images", "parts=viecap"], "Prefix parts .* learn from text alone"),
    ],
)
def test_options_that_do_not_go_together_are_refused(config, options, message):
    with pytest.raises(ValueError, match=message):
        train(config("refused", *options))


def test_a_store_without_unpaired_images_is_refused(config, taught, store):
    path = store.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_mean_split": None}))
    with pytest.raises(ValueError, match=r"has none: name their split with dataset\.image_mean_split="):
        train(config("second", *taught, "alignment=c2_corrupt"))
