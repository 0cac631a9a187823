"""Names of splits: every spelling of train, val and test is one, and what looks held out is held out everywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_space.splits import SPELLINGS, WORDS, canonical_split, is_held_out, refuse_held_out, spelled, split_names
from embedding_space.tables import write_tables
from embedding_space.write_store import write_store


@pytest.mark.parametrize(
    ("canonical", "names"),
    [
        ("train", "train Train TRAIN training train2014 train_set Train-Split trn"),
        ("val", "val VAL valid Validation validate dev DEV development val2017 dev-set Val/"),
        ("test", "test Test TEST testing Testing test2014 test_set tst"),
    ],
)
def test_spellings_of_one_split_are_one_name(canonical, names):
    assert {canonical_split(f" {name} ") for name in names.split()} == {canonical}


@pytest.mark.parametrize("name", ["testa", "test-dev", "minival", "eval", "restval", "pretrain", "pairs", "extra"])
def test_other_names_stay_for_they_may_be_beside_the_usual_ones(name):
    assert canonical_split(name.upper()) == canonical_split(name) == name


def test_parts_and_sums():
    assert canonical_split("Validation/In-Domain") == "val/in-domain"
    assert split_names("Train + extra+VAL/near") == ["train", "extra", "val/near"]
    assert spelled(" Train+ Extra") == "train+extra"


@pytest.mark.parametrize("name", [None, 1, True, ["test"], "", "  ", "/part", "train+test"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match="no name of a split"):
        canonical_split(name)


HELD_OUT = (
    "val valid VALIDATION dev development val2014 minival mini-val val_unseen dev-clean coco/val2017 val/in-domain "
    "test Test testing TESTING test2015 test-dev test_std testA testB eval Evaluation holdout held-out tst train+Test "
    "extra+validation/b train_test hold-out Hold_Out"
)
TRAINING = "train Training train+extra restval validated pairs pretrain extra trainval train_val2007 corpus latest news"


@pytest.mark.parametrize("name", HELD_OUT.split())
def test_whatever_looks_held_out_is(name):
    assert is_held_out(name)


@pytest.mark.parametrize("name", TRAINING.split())
def test_training_data_is_not(name):
    assert not is_held_out(name)


spellings = st.tuples(
    st.sampled_from([(split, word) for split, words in WORDS.items() for word in words]),
    st.sampled_from([str.lower, str.upper, str.title]),
    st.sampled_from(["", "2014", "_set", "-Split", " data"]),
    st.sampled_from(["", " ", "\t"]),
)


@given(spellings)
def test_any_spelling_is_found_under_its_name_and_stays_there(spelling):
    (split, word), case, more, blank = spelling
    name = f"{blank}{case(word)}{more}{blank}"
    assert canonical_split(name) == split == canonical_split(canonical_split(name))
    assert is_held_out(name) == (split != "train")
    assert set(SPELLINGS) == {"train", "val", "test"}


def test_tables_are_asked_in_any_spelling(tmp_path):
    splits = ("training", "Test", "TEST", "valid", "eval")
    images = ({"image_id": str(n), "path": f"{n}.jpg", "split": split} for n, split in enumerate(splits))
    tables = write_tables(tmp_path, images, [])
    assert tables.image_rows("train").tolist() == [0]
    assert tables.image_rows("test").tolist() == tables.image_rows("Test").tolist() == [1, 2]
    assert tables.image_rows("valid").tolist() == tables.image_rows("val").tolist() == [3]
    assert tables.image_rows("val+EVAL").tolist() == [3, 4]
    for name in ("extra", "testing", "dev"):  # no row is marked so
        with pytest.raises(ValueError, match=f"no images of split '{name}'"):
            tables.image_rows(name)
    with pytest.raises(ValueError, match=r"images\.parquet: 'a\+b' is no name of a split"):
        write_tables(tmp_path, [{"image_id": "a", "path": "a.jpg", "split": "a+b"}], [])


@pytest.mark.parametrize("split", ["Test", "train+valid", "testing", "train + eval", "dev/a", "testA"])
@pytest.mark.parametrize("option", ["text_split", "image_mean_split"])
def test_texts_and_means_over_held_out_data_are_refused(tmp_path, word_encoder, option, split):
    with pytest.raises(ValueError, match=rf"dataset\.{option}=.*held-out"):
        write_store(tmp_path, word_encoder(8), "words", **{option: split})


def test_a_store_of_texts_in_another_spelling(tmp_path, word_encoder):
    captions = [{"caption_id": "a", "image_row": None, "caption": "a dog", "split": "Training"}]
    write_tables(tmp_path, [], captions)
    store = write_store(tmp_path, word_encoder(8), "words", text_split="TRAIN", image_mean_split=None)
    assert store.text_split == "train" and store.captions(store.text_split) == ["a dog"] and store.has_mean("text")
    assert write_store(tmp_path, word_encoder(8), "words", text_split="train", image_mean_split=None).hash == store.hash


@pytest.mark.parametrize("split", ["test", "Valid", "train+dev", "testA", "coco/val2017"])
def test_nothing_is_made_of_held_out_data(split):
    with pytest.raises(ValueError, match=r"dataset\.pairs_split=.*: training data and means must not come from"):
        refuse_held_out("dataset.pairs_split", split)
    refuse_held_out("dataset.pairs_split", "train+pairs")
    refuse_held_out("dataset.image_mean_split", None)
