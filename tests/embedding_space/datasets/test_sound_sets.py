"""Clotho, AudioCaps, ESC-10 and ESC-50: small files of the published formats become tables; bad ones are refused."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from embedding_space.datasets import make_tables
from embedding_space.tables import Tables

SHARED = Path(os.environ.get("DIFFUSION_BRIDGE_SHARED", Path(__file__).resolve().parents[4] / "shared"))


def rows(tables: Tables) -> list[tuple]:
    """(id or None, split, caption) of every caption."""
    ids = tables.images["image_id"].to_pylist()
    return [
        (None if row["image_row"] is None else ids[row["image_row"]], row["split"], row["caption"])
        for row in tables.captions.to_pylist()
    ]


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


@pytest.fixture
def config(tmp_path, compose, monkeypatch):
    """The dataset config of `python scripts/prepare_data.py dataset=<name> <overrides>`, in a fresh data folder."""
    monkeypatch.setenv("DIFFUSION_BRIDGE_DATA", str(tmp_path))
    return lambda name, *overrides: compose("prepare_data", f"dataset={name}", *overrides).dataset


@pytest.fixture
def sounds(write_sound):
    """A writer of short sounds."""

    def write_all(folder: Path, *names: str) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            codec = "pcm_s16le" if name.endswith(".wav") else "flac"
            write_sound(folder / name, 0.1 * np.sin(np.arange(2048) / 9), codec=codec)

    return write_all


CLOTHO = {
    "development": ["Distorted AM Radio noise.wav", "20061205.wash.wav"],
    "validation": ["a.wav"],
    "evaluation": ["b.wav"],
}
FIVE = ",".join(f"caption_{n}" for n in range(1, 6))


def clotho_csv(names: list[str]) -> str:
    lines = (f'{name},"{name}, said first",two,three,four,five .' for name in names)
    return "\n".join([f"file_name,{FIVE}", *lines]) + "\n"


@pytest.fixture
def clotho(tmp_path, sounds):
    for folder, names in CLOTHO.items():
        write(tmp_path / f"clotho/clotho_captions_{folder}.csv", clotho_csv(names))
        sounds(tmp_path / "clotho" / folder, *names)
    return tmp_path / "clotho"


def test_clothos_development_sounds_are_training_data(clotho, config, capsys):
    tables = make_tables(config("clotho"))
    assert Counter(tables.images["split"].to_pylist()) == {"train": 2, "val": 1, "test": 1}
    first = "development/Distorted AM Radio noise.wav"
    assert rows(tables)[:2] == [(first, "train", "Distorted AM Radio noise.wav, said first"), (first, "train", "two")]
    assert len(tables.caption_rows("test")) == 5
    assert tables.images["path"].to_pylist()[0] == first
    said = capsys.readouterr().out
    assert "2 entries, 2 sounds, 10 captions" in said and ": test: 1 sounds, 5 captions" in said


def test_clotho_1_has_no_validation_split(clotho, config):
    (clotho / "clotho_captions_validation.csv").unlink()
    tables = make_tables(config("clotho", "dataset.annotations.val=null"))
    assert tables.images["split"].to_pylist() == ["train", "train", "test"]
    with pytest.raises(FileNotFoundError, match=r"no .*validation\.csv.*dataset\.annotations\.val="):
        make_tables(config("clotho"))


def test_clothos_captions_alone(clotho, config):
    for sound in clotho.glob("development/*"):
        sound.unlink()
    with pytest.raises(FileNotFoundError, match=r"Sounds are not there \(2 of those in .*development"):
        make_tables(config("clotho"))
    tables = make_tables(config("clotho", "dataset.images.train=null"))
    assert rows(tables)[0] == (None, "train", "Distorted AM Radio noise.wav, said first")
    assert tables.images["split"].to_pylist() == ["val", "test"]
    assert len(make_tables(config("clotho", "dataset.images=null")).images) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,caption_1\na.wav,x\n", r"validation\.csv, line 2: the field 'file_name' is missing"),
        ("file_name,text\na.wav,x\n", r"line 2: the field 'caption_1' is missing"),
        (f"file_name,{FIVE}\na.wav,x\n", "line 2 has 2 fields, its header 6"),
        (clotho_csv(["a.wav", "a.wav"]), r"line 3: a\.wav is there twice"),
        (f"file_name,{FIVE}\n", "is empty"),
    ],
)
def test_malformed_clotho_files_are_refused(clotho, config, content, message):
    write(clotho / "clotho_captions_validation.csv", content)
    with pytest.raises(ValueError, match=message):
        make_tables(config("clotho"))


def test_clotho_needs_the_folder_of_each_file(clotho, config):
    with pytest.raises(ValueError, match=r"dataset\.images\.train is missing: .* or null"):
        make_tables(config("clotho", "dataset.images=development"))
    with pytest.raises(ValueError, match=r"dataset\.annotations=a\.csv must be a file for each split"):
        make_tables(config("clotho", "dataset.annotations=a.csv"))
    with pytest.raises(ValueError, match=r"dataset\.images\.more is missing"):
        make_tables(config("clotho", "+dataset.annotations.more=clotho_captions_validation.csv"))
    with pytest.raises(ValueError, match="No annotations are named"):
        make_tables(config("clotho", *(f"dataset.annotations.{split}=null" for split in ("train", "val", "test"))))


HEADER = "audiocap_id,youtube_id,start_time,caption\n"
AUDIOCAPS = {
    "train": HEADER
    + '1,r1nicOVtvkQ,130,A woman talks nearby as water pours\n2,-DGBjjwyaqE,20,"Clanging, then a bell"\n',
    "val": HEADER + "".join(f"{10 + n},vfY_TJq7n_U,130,ducks {n}\n" for n in range(5)),
    "test": HEADER
    + "20,7fmOlUlwoNg,0,bangs\n21,6BJ455B1aAs,0,bangs 0\n22,7fmOlUlwoNg,0,bangs\n23,6BJ455B1aAs,0,bangs 1\n",
}


@pytest.fixture
def audiocaps(tmp_path):
    for split, content in AUDIOCAPS.items():
        write(tmp_path / f"audiocaps/{split}.csv", content)
    return tmp_path / "audiocaps"


def test_audiocaps_takes_the_sounds_that_are_there(audiocaps, config, sounds, capsys):
    sounds(audiocaps / "sounds", "train/-DGBjjwyaqE_20.wav", "val/Yvfy.wav", "YvfY_TJq7n_U.wav", "test/21.flac")
    tables = make_tables(config("audiocaps"))
    assert tables.images["image_id"].to_pylist() == ["-DGBjjwyaqE_20", "vfY_TJq7n_U_130", "6BJ455B1aAs_0"]
    assert tables.images["path"].to_pylist()[-1] == "sounds/test/21.flac"
    assert rows(tables) == [
        (None, "train", "A woman talks nearby as water pours"),  # text without its sound
        ("-DGBjjwyaqE_20", "train", "Clanging, then a bell"),
        *(("vfY_TJq7n_U_130", "val", f"ducks {n}") for n in range(5)),
        *(("6BJ455B1aAs_0", "test", f"bangs {n}") for n in range(2)),
    ]
    said = capsys.readouterr().out
    missing = (
        "Sounds that are not there were left out: 1 of train (whose captions stay as text), 1 of test; the first: "
    )
    assert missing in said and "r1nicOVtvkQ_130.wav" in said
    with pytest.raises(FileNotFoundError, match=r"Sounds are not there \(2 of those in"):
        make_tables(config("audiocaps", "dataset.missing_images=error"))


def test_audiocaps_captions_alone_are_a_text_corpus(audiocaps, config):
    tables = make_tables(config("audiocaps", "dataset.images=null"))
    assert len(tables.images) == 0
    assert Counter(tables.captions["split"].to_pylist()) == {"train": 2, "val": 5, "test": 4}


def test_audiocaps_sounds_may_be_called_otherwise(audiocaps, config, sounds):
    sounds(audiocaps / "sounds", "clip_vfY_TJq7n_U_000130_to_140.wav")
    pattern = "dataset.names=['clip_{youtube_id}_{start_time:06d}_to_{end_time}']"
    assert make_tables(config("audiocaps", pattern)).images["image_id"].to_pylist() == ["vfY_TJq7n_U_130"]
    with pytest.raises(ValueError, match=r"None of the 1 sounds .*clip_vfY_.*\.wav, where r1nicOVtvkQ_130 was looked"):
        make_tables(config("audiocaps"))
    for bad in ("{ytid}", "{youtube_id", "{}"):
        with pytest.raises(ValueError, match=r"is no name of a sound; its fields may be audiocap_id, youtube_id"):
            make_tables(config("audiocaps", f"dataset.names=['{bad}']"))
    with pytest.raises(ValueError, match=r"dataset\.names=\[\] must say how"):
        make_tables(config("audiocaps", "dataset.names=[]"))


def test_audiocaps_without_sounds_says_how_to_go_on(audiocaps, config, sounds):
    with pytest.raises(ValueError, match=r"dataset\.images=.* must be one folder, in which all sounds are, or null"):
        make_tables(config("audiocaps", "dataset.images={train: sounds}"))
    with pytest.raises(FileNotFoundError, match=r"no folder .*sounds .*dataset\.images=null takes the captions alone"):
        make_tables(config("audiocaps"))
    write(audiocaps / "sounds/notes.txt", "none yet")
    with pytest.raises(ValueError, match=r"There is no sound in .*\.wav .*dataset\.images=null"):
        make_tables(config("audiocaps"))
    sounds(audiocaps / "sounds", "a/7fmOlUlwoNg_0.wav", "b/7fmOlUlwoNg_0.flac")
    with pytest.raises(ValueError, match="are two sounds of one name"):
        make_tables(config("audiocaps"))


@pytest.mark.parametrize(
    ("split", "content", "message"),
    [
        ("val", "audiocap_id,youtube_id,caption\n1,a,x\n", "the field 'start_time' is missing"),
        ("val", HEADER + "1,a,x,ducks\n", "start_time must be whole seconds, not 'x'"),
        ("val", HEADER + "1,a,3,one\n1,a,3,two\n", "line 3: the audiocap_id 1 is there twice"),
        ("test", AUDIOCAPS["train"], "the clip r1nicOVtvkQ_130 is in train, too"),
    ],
)
def test_malformed_audiocaps_files_are_refused(audiocaps, config, split, content, message):
    write(audiocaps / f"{split}.csv", content)
    with pytest.raises(ValueError, match=message):
        make_tables(config("audiocaps", "dataset.images=null"))


@pytest.fixture
def esc10(tmp_path, sounds):
    for fold in range(1, 6):
        sounds(tmp_path / "esc10", f"001 - Dog bark/{fold}-100-A.ogg", f"rain/{fold}-200-A.ogg")
    return tmp_path / "esc10"


TWO = "dataset.phrases={dog_bark: a dog barking}"


def test_esc10s_captions_are_made_of_its_classes(esc10, config, capsys):
    tables = make_tables(config("esc10", "~dataset.phrases", f"+{TWO}", "dataset.templates=['{}','hear {}']"))
    assert Counter(tables.images["split"].to_pylist()) == {"train": 8, "test": 2}
    assert rows(tables)[-4:] == [
        ("001 - Dog bark/5-100-A.ogg", "test", "a dog barking"),
        ("001 - Dog bark/5-100-A.ogg", "test", "hear a dog barking"),
        ("rain/5-200-A.ogg", "test", "rain"),
        ("rain/5-200-A.ogg", "test", "hear rain"),
    ]
    assert "10 sounds of 2 classes; captions are made up" in capsys.readouterr().out


def test_the_test_fold_is_chosen_and_names_the_data_set(esc10, config):
    few = ("~dataset.phrases", f"+{TWO}")
    chosen = config("esc10", "dataset.test_fold=2", "dataset.val_fold=3", *few)
    assert chosen.name == "esc10_fold2"
    tables = make_tables(chosen)
    split_of = dict(zip(tables.images["path"].to_pylist(), tables.images["split"].to_pylist(), strict=True))
    folds = {
        split: {Path(path).name[0] for path, its in split_of.items() if its == split} for split in split_of.values()
    }
    assert folds == {"train": {"1", "4", "5"}, "val": {"3"}, "test": {"2"}}
    for option, message in (
        ("dataset.test_fold=6", r"dataset\.test_fold=6: .* has the folds \[1, 2, 3, 4, 5\]"),
        ("dataset.val_fold=5", r"dataset\.val_fold=5 is the test fold"),
        ("dataset.val_fold=0", r"dataset\.val_fold=0 must be null or a whole number"),
        ("dataset.templates=[rain]", r"must be captions with \{\} for the class"),
        ("+dataset.phrases.dogs=dogs", r"dataset\.phrases\.dogs is of no sound's class; those are dog_bark, rain"),
    ):
        with pytest.raises(ValueError, match=message):
            make_tables(config("esc10", *few, option))


def test_names_of_another_form_are_no_sounds_of_esc10(esc10, config, sounds):
    sounds(esc10, "rain/storm.ogg")
    with pytest.raises(ValueError, match=r"storm\.ogg must be called <fold>-<clip>-<take>"):
        make_tables(config("esc10"))
    (esc10 / "empty").mkdir()
    with pytest.raises(ValueError, match="There is no sound in"):
        make_tables(config("esc10", "dataset.images=empty"))
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        make_tables(config("esc10", "dataset.images=nowhere"))


ESC50 = """filename,fold,target,category,esc10,src_file,take
1-1-A-0.wav,1,0,dog,True,1,A
5-2-A-14.wav,5,14,chirping_birds,False,2,A
"""
PLAIN = ("~dataset.phrases", "+dataset.phrases={dog: a dog barking}", "dataset.templates=['{}']")


def test_esc50s_classes_are_in_its_table(tmp_path, config, sounds):
    write(tmp_path / "esc50/meta/esc50.csv", ESC50)
    sounds(tmp_path / "esc50/audio", "1-1-A-0.wav", "5-2-A-14.wav")
    tables = make_tables(config("esc50", *PLAIN))
    assert rows(tables) == [
        ("audio/1-1-A-0.wav", "train", "a dog barking"),
        ("audio/5-2-A-14.wav", "test", "chirping birds"),
    ]
    (tmp_path / "esc50/audio/5-2-A-14.wav").unlink()
    with pytest.raises(FileNotFoundError, match="Sounds are not there"):
        make_tables(config("esc50", *PLAIN))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ESC50.replace("category", "class"), "the field 'category' is missing"),
        (ESC50.replace(",5,14", ",five,14"), "the fold must be a whole number, not 'five'"),
        (ESC50.replace("5-2-A-14", "1-1-A-0"), r"1-1-A-0\.wav is there twice"),
    ],
)
def test_malformed_esc50_tables_are_refused(tmp_path, config, content, message):
    write(tmp_path / "esc50/meta/esc50.csv", content)
    with pytest.raises(ValueError, match=message):
        make_tables(config("esc50"))


def test_esc_experiments_classes_are_the_words_of_the_captions(compose):
    for name, count in (("esc10", 10), ("esc50", 50)):
        config = compose("evaluate_embeddings", "experiment=esc10", f"dataset={name}")
        assert len(config.classes) == len(set(config.classes)) == count
        assert list(config.classes) == list(config.dataset.phrases.values()) and config.labels == "captions"


@pytest.mark.shared
def test_the_real_esc10(tmp_path, config):
    if not (SHARED / "esc10/dog_bark").is_dir():
        pytest.skip("ESC-10 is not here")
    tables = make_tables(config("esc10", f"dataset.source='{SHARED / 'esc10'}'"))
    assert Counter(tables.images["split"].to_pylist()) == {"train": 320, "test": 80}
    assert len(tables.captions) == 2000 and len(set(tables.captions["caption"].to_pylist())) == 50


@pytest.mark.shared
def test_audiocaps_real_captions_as_text(tmp_path, config):
    if not (SHARED / "audiocaps/train.jsonl").is_file():
        pytest.skip("AudioCaps is not here")
    files = [f"dataset.texts.{split}=['{SHARED / f'audiocaps/{split}.jsonl'}']" for split in ("train", "val", "test")]
    keys = ("dataset.name=audiocaps_text", "dataset.text_key=captions", "dataset.image_key=clip")
    tables = make_tables(config("text", *files, *keys))
    assert Counter(tables.captions["split"].to_pylist()) == {"train": 49_838, "val": 2_475, "test": 4_875}
