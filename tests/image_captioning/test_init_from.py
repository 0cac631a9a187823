"""init_from: training starts from another captioner's weights, and what that one saw is not forgotten."""

import json
import shutil

import pytest
from omegaconf import OmegaConf

from image_captioning.captioner import Captioner
from image_captioning.training_run import train

SMALL = (
    "decoder.config.n_layer=1", "decoder.config.n_embd=16", "decoder.config.n_head=2", "decoder.mapper.prefix_length=2",
    "loop.batch_size=20", "loop.steps=4", "loop.warmup_steps=0", "loop.precision=no", "validation_captions=10",
)  # fmt: skip


@pytest.fixture
def config(compose, make_store, tmp_path):
    store = make_store()

    def made(name: str, *overrides: str):
        place = [f"store={store.path}", f"output_dir={tmp_path / name}", "dataset.pairs_split=pretrain"]
        return compose("image_captioning", "alignment=c3", *SMALL, *place, *overrides)

    return made


@pytest.fixture
def first(config, tmp_path):
    train(config("first"))
    return tmp_path / "first"


def test_training_starts_from_the_weights_tokenizer_and_past_of_the_first(config, first, tmp_path):
    still = config("second", f"init_from='{first}'", "loop.learning_rate=1e-30", "loop.weight_decay=0", "seed=5",
                   "alignment=c1", "decoder.config.resid_pdrop=0.1", "train_captions=30")  # fmt: skip
    train(still)
    before, after = Captioner.load(first), Captioner.load(tmp_path / "second")
    assert len(after.alignment.options()) == 1 and after.provenance["init_from"] == before.provenance
    assert not after.provenance["uses_pairs"] and after.decoder.config.resid_pdrop == 0.1
    assert after.tokenizer.get_vocab() == before.tokenizer.get_vocab()
    assert after.weights_hash() == before.weights_hash()
    assert before.weights_hash() != Captioner.load(_scratch(config, tmp_path)).weights_hash()
    train(config("pairs", "train_on=pairs"))
    train(config("after_pairs", f"init_from='{tmp_path / 'pairs'}'"))
    assert Captioner.load(tmp_path / "after_pairs").provenance["uses_pairs"]  # though it trained on text itself


def test_the_weights_of_the_start_stay_where_training_makes_the_kept_figure_worse(config, first, tmp_path):
    train(config("worse", f"init_from='{first}'", "loop.keep=text_loss", "loop.learning_rate=100"))
    lines = [json.loads(line) for line in (tmp_path / "worse" / "metrics.jsonl").read_text().splitlines()]
    figures = [(line["step"], line["text_loss"]) for line in lines if "text_loss" in line]
    assert figures[0][0] == 0 and figures[0] == min(figures, key=lambda figure: figure[1])
    assert Captioner.load(tmp_path / "worse").weights_hash() == Captioner.load(first).weights_hash()


def _scratch(config, tmp_path):
    train(config("scratch", "seed=5"))
    return tmp_path / "scratch"


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(config, first, tmp_path, interrupted):
    options = (f"init_from='{first}'", "loop.checkpoint_every=1")
    train(config("whole", *options))
    interrupted(lambda: train(config("halves", *options)))
    train(config("halves", *options))
    whole, halves = Captioner.load(tmp_path / "whole"), Captioner.load(tmp_path / "halves")
    assert whole.weights_hash() == halves.weights_hash()


def test_other_weights_at_the_start_are_another_run(config, first):
    config = config("second", f"init_from='{first}'")
    train(config)
    train(config)  # re-used
    again = OmegaConf.load(first / "config.yaml")
    again.pop("inputs")
    train(OmegaConf.merge(again, {"overwrite": True, "seed": 1}))
    with pytest.raises(ValueError, match=r"holds a run of another configuration .*init_from"):
        train(config)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("decoder.config.n_head=4", "has n_head=2, here decoder.config.n_head is 4: choose the decoder= that it was"),
        ("decoder.config.n_layer=2", "has n_layer=1, here decoder.config.n_layer is 2"),
        ("decoder.mapper.prefix_length=3", "has mapper={.*}, here decoder.mapper is {.*}: choose"),
    ],
)
def test_another_shape_is_refused(config, first, override, message):
    with pytest.raises(ValueError, match=message):
        train(config("second", f"init_from='{first}'", override))


def test_a_missing_start_and_one_of_another_encoder_are_refused_and_leave_no_run(config, first, make_store, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"init_from=.*nowhere: No captioner in .*nowhere"):
        train(config("second", f"init_from='{tmp_path / 'nowhere'}'"))
    shutil.copytree(first, tmp_path / "foreign")
    config_file = tmp_path / "foreign" / "config.json"
    config_file.write_text(json.dumps(json.loads(config_file.read_text()) | {"encoder": {"model": "another"}}))
    with pytest.raises(ValueError, match=r"init_from=.*foreign: The captioner reads texts of .*another"):
        train(config("second", f"init_from='{tmp_path / 'foreign'}'"))
    assert not (tmp_path / "second").exists()
