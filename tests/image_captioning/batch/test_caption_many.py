"""Captioning many files: every source and format, interrupted, divided, and with what cannot be read."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image_captioning import caption_photos
from image_captioning.batch import caption_many as many
from image_captioning.batch import parts
from image_captioning.batch.caption_many import are_many, caption_many
from image_captioning.caption_photos import caption

COUNT = 53


@pytest.fixture
def folder(tmp_path):
    """Files of which every tenth cannot be read."""
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(0)
    for number in range(COUNT):
        content = b"no" if number % 10 == 7 else random.bytes(8)
        (tmp_path / "photos" / f"{number:03d}.jpg").write_bytes(content)
    return tmp_path / "photos"


@pytest.fixture
def run(make_captioner, bytes_encoder, compose, tmp_path, monkeypatch):
    """Caption paths by a tiny captioner: run(*paths, *options) -> the file of captions."""
    monkeypatch.setattr(parts, "PART_ROWS", 8)
    monkeypatch.setattr(caption_photos, "reload_encoder", lambda *_, **__: bytes_encoder(batch_size=3))
    captioner = make_captioner()

    def caption_by(*words, output="captions") -> Path:
        paths = [word for word in words if isinstance(word, Path)]
        options = [word for word in words if isinstance(word, str)]
        config = compose("caption", f"output_dir={tmp_path / output}", "precision=fp32", "checkpoint=mine", *options)
        assert are_many(config, paths)
        return caption_many(config, paths, lambda _: captioner)

    return caption_by


@pytest.fixture
def expected(make_captioner, bytes_encoder, compose, folder, tmp_path, monkeypatch):
    """{path: caption} as the command gives them for a few files."""
    monkeypatch.setattr(caption_photos, "reload_encoder", lambda *_, **__: bytes_encoder())
    config = compose("caption", f"output_dir={tmp_path}/few", "precision=fp32", "checkpoint=mine")
    assert not are_many(config, [folder])
    captions = caption(config, [folder], lambda _: make_captioner())
    assert len(captions) == COUNT - 5 and len(set(captions.values())) > 3
    return captions


def read(path: Path) -> dict[str, str]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["key"]: row["caption"] for row in rows}


def stop_after(monkeypatch, count: int) -> None:
    """Interrupt the run that would write one part more."""
    write, written = parts.Parts.write, []

    def counted(self, part, rows):
        if len(written) == count:
            raise KeyboardInterrupt
        written.append(part)
        write(self, part, rows)

    monkeypatch.setattr(parts.Parts, "write", counted)


def test_every_source_gives_the_captions_of_the_files(expected, run, folder, tmp_path, capsys):
    files = sorted(folder.iterdir())
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in files))
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for path in files:
            tar.add(path, path.name)
            tar.addfile(tarfile.TarInfo(f"{path.stem}.json"), io.BytesIO())
    pictures = [{"bytes": path.read_bytes(), "path": path.name} for path in files]
    pq.write_table(pa.table({"image": pictures, "label": range(COUNT)}), tmp_path / "t.parquet", row_group_size=20)

    captions = read(run(folder, "format=jsonl", output="a"))
    assert captions == expected
    assert "48 pictures captioned (" in (printed := capsys.readouterr()).out and "a second)" in printed.out
    assert "5 pictures cannot be read" in printed.err
    assert read(run(Path(f"@{tmp_path}/list.txt"), output="b")) == expected
    by_key = {Path(path).stem: text for path, text in expected.items()}
    assert read(run(tmp_path / "s.tar", output="c")) == by_key
    assert read(run(tmp_path / "s.tar", "prefix_keys=true", output="d")) == {
        f"{tmp_path}/s.tar/{key}": text for key, text in by_key.items()
    }
    rows = {f"{tmp_path}/t.parquet:{files.index(Path(path))}": text for path, text in expected.items()}
    assert read(run(tmp_path / "t.parquet", "field=image", output="e")) == rows
    # All together are one run; the parts' borders lie elsewhere in it.
    together = read(run(folder, tmp_path / "s.tar", tmp_path / "t.parquet", output="f"))
    assert together == expected | by_key | rows
    problems = [json.loads(line) for line in (tmp_path / "c" / "problems.jsonl").read_text().splitlines()]
    assert problems[0] == {"key": "007", "problem": f"{tmp_path}/s.tar/007.jpg cannot be read"} and len(problems) == 5
    record = json.loads((tmp_path / "c" / "run.json").read_text())
    assert (record["captions"], record["problems"], record["files_per_second"] > 0) == (48, 5, True)
    assert not (tmp_path / "c" / "partial").exists() and (tmp_path / "c" / "config.yaml").is_file()


def test_every_format_holds_the_same(expected, run, folder, tmp_path):
    with run(folder, "format=csv", output="csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["key", "caption"], *map(list, expected.items())]
    table = pq.read_table(run(folder, "format=parquet", output="parquet"))
    assert dict(zip(table["key"].to_pylist(), table["caption"].to_pylist(), strict=True)) == expected
    path = run(folder, "format=imagefolder", output="photos")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert path == folder / "metadata.jsonl"
    assert rows == [{"file_name": Path(key).name, "text": text} for key, text in expected.items()]
    assert (folder / rows[0]["file_name"]).is_file()


@pytest.mark.parametrize("parts_done", [0, 1, 4, 6])
@pytest.mark.parametrize("output_format", ["jsonl", "parquet"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    run, folder, tmp_path, monkeypatch, capsys, parts_done, output_format
):
    words = (folder, f"format={output_format}", "decoding=nucleus", "decoding.max_new_tokens=8")
    whole = run(*words, output="whole")
    with monkeypatch.context() as patch:
        stop_after(patch, parts_done)
        with pytest.raises(KeyboardInterrupt, match="The same command goes on"):
            run(*words, output="cut")
    assert not (tmp_path / "cut" / whole.name).exists()
    assert len(list((tmp_path / "cut" / "partial").glob("*.jsonl"))) == parts_done
    with pytest.raises(ValueError, match=r"unfinished run .*decoding.max_new_tokens was 8 there and is 9 now"):
        run(*words, "decoding.max_new_tokens=9", output="cut")
    capsys.readouterr()
    cut = run(*words, output="cut")
    assert cut.read_bytes() == whole.read_bytes()
    assert (tmp_path / "cut" / "problems.jsonl").read_bytes() == (tmp_path / "whole" / "problems.jsonl").read_bytes()
    assert ("of them in this run" in capsys.readouterr().out) == (parts_done > 0)


def test_shards_make_the_whole(run, folder, tmp_path):
    whole = run(folder, "format=jsonl", output="whole")
    files = [run(folder, f"shard={number}/3", output="shards") for number in (2, 1, 3)]
    assert [path.name for path in sorted(files)] == [f"captions-{number}-of-3.jsonl" for number in (1, 2, 3)]
    assert b"".join(path.read_bytes() for path in sorted(files)) == whole.read_bytes()
    problems = sorted((tmp_path / "shards").glob("problems-*"))
    assert b"".join(p.read_bytes() for p in problems) == (tmp_path / "whole" / "problems.jsonl").read_bytes()
    assert run(folder, "shard=9/100", output="more").read_bytes() == b""  # more shards than parts


def test_shards_of_two_runs_are_not_mixed(run, folder, tmp_path, monkeypatch):
    run(folder, "shard=1/3")
    for words, difference in {
        ("shard=2/3", "decoding=beam"): "decoding.* was .* now",
        ("shard=2/3", "format=csv"): "format was 'jsonl' there and is 'csv' now",
        ("shard=1/2",): "shards was 3 there and is 2 now",
    }.items():
        with pytest.raises(ValueError, match=rf"run-1-of-3\.json is of a shard of another run .*{difference}"):
            run(folder, *words)
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            run(folder, "shard=2/3")
    (tmp_path / "captions" / "run-1-of-3.json").unlink()
    with pytest.raises(
        ValueError, match=r"partial-2-of-3/identity\.json is of a shard of another run \(batch_size was"
    ):
        run(folder, "shard=3/3", "batch_size=7")


def test_files_of_others_stay(run, folder, tmp_path):
    (tmp_path / "captions" / "partial").mkdir(parents=True)
    (tmp_path / "captions" / "config.yaml").write_text("mine")
    notes = tmp_path / "captions" / "partial" / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(ValueError, match="partial is there already, and not of this command"):
        run(folder, "format=csv")
    assert notes.read_text() == "mine"
    notes.parent.rename(tmp_path / "captions" / "drafts")
    run(folder, "format=csv")
    assert (tmp_path / "captions" / "config_1.yaml").read_text() == "mine"


def test_a_finished_run_is_kept(run, folder, tmp_path, capsys, monkeypatch):
    path = run(folder, "format=jsonl")
    before = path.read_bytes()
    capsys.readouterr()
    assert run(folder, "format=jsonl") == path and "Already captioned" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"captions of another run \(format was 'jsonl' there and is 'csv' now\)"):
        run(folder, "format=csv")
    (folder / "new.jpg").write_bytes(b"12345678")
    with pytest.raises(ValueError, match=r"captions of another run \(files was 53 there and is 54 now\)"):
        run(folder, "format=jsonl")
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run(folder, "overwrite=true")
    assert path.read_bytes() == before  # until others are there
    assert len(read(run(folder, "format=jsonl"))) == COUNT - 5 + 1  # goes on
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "captions.jsonl").write_text("mine")
    with pytest.raises(ValueError, match=r"captions.jsonl is there already, and not of this command"):
        run(folder, "format=jsonl", output="other")


def test_what_does_not_fit_is_refused_before_anything_is_captioned(run, folder, tmp_path, monkeypatch):
    stop_after(monkeypatch, 0)
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        tar.add(folder / "000.jpg", "000.jpg")
    for words, reason in {
        (folder, "format=xml"): "format=xml must be one of jsonl, csv, parquet, imagefolder",
        (folder, "shard=3/2"): "shard=3/2 must be",
        (folder, "field=jpg"): "field=jpg is for tar and Parquet files, of which there are none here: leave it out",
        (folder, "prefix_keys=true"): "prefix_keys=True is for tar files",
        (folder, "format=imagefolder"): r"names of pictures below output_dir=.*000.jpg is not there: give the folder",
        (
            tmp_path / "s.tar",
            "format=imagefolder",
        ): "format=imagefolder describes pictures in folders, and .*s.tar holds",
        (folder, "format=imagefolder", "shard=1/2"): "all in one file, and shard=1/2 makes many",
        (folder, folder / "001.jpg", "format=csv"): "Some keys are there twice.*001.jpg in .*photos and .*001.jpg",
        (tmp_path / "s.tar", "field=png"): "No pictures in .*s.tar",
        ("format=csv",): "Nothing to caption",
    }.items():
        with pytest.raises(ValueError, match=reason):
            run(*words)
    assert not (tmp_path / "captions").exists()


def test_files_of_which_none_can_be_read_are_an_error_with_a_list_of_reasons(run, tmp_path, monkeypatch):
    (tmp_path / "list.txt").write_text("gone.jpg\n")
    with pytest.raises(ValueError, match=r"None of the 1 pictures can be read: see .*problems.jsonl"):
        run(Path(f"@{tmp_path}/list.txt"))
    [problem] = (tmp_path / "captions" / "problems.jsonl").read_text().splitlines()
    assert json.loads(problem)["key"] == "gone.jpg"
    assert [path.name for path in (tmp_path / "captions").iterdir()] == ["problems.jsonl"]
    with pytest.raises(ValueError, match="None of the 1 pictures can be read"):  # and not "Already captioned"
        run(Path(f"@{tmp_path}/list.txt"))
    monkeypatch.chdir(tmp_path)
    Path("gone.jpg").write_bytes(b"12345678")
    assert list(read(run(Path(f"@{tmp_path}/list.txt")))) == ["gone.jpg"]
    assert not (tmp_path / "captions" / "problems.jsonl").exists()


def test_captions_that_nothing_could_replace_stay(run, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"12345678")
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.jpg\n")
    words = (Path(f"@{tmp_path}/list.txt"),)
    before = run(*words).read_bytes()
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(ValueError, match="None of the 1 pictures can be read"):
        run(*words, "overwrite=true", "format=csv")
    assert (tmp_path / "captions" / "captions.jsonl").read_bytes() == before == run(*words).read_bytes()
    assert not (tmp_path / "captions" / "captions.csv").exists()


def test_another_format_replaces_the_earlier_file_once_it_is_whole(run, folder, tmp_path, monkeypatch):
    old = run(folder, "format=jsonl")
    (old.parent / "captions.parquet").touch()  # somebody else's
    for done in (2, 1):  # begun again, and again
        with monkeypatch.context() as patch:
            stop_after(patch, done)
            with pytest.raises(KeyboardInterrupt):
                run(folder, "format=csv", "overwrite=true")
        assert old.is_file() and not (old.parent / "captions.csv").exists()
    assert run(folder, "format=csv").is_file()
    assert not old.exists() and (old.parent / "captions.parquet").exists()
    assert json.loads((old.parent / "run.json").read_text())["format"] == "csv"
    (old.parent / "run.json").write_text("{")
    assert run(folder, "format=jsonl", "overwrite=true") == old
    assert (old.parent / "captions.csv").exists()  # no record named it


class TwoThreads:
    """Two processes as two threads, whose names are their ranks."""

    count = 2
    barrier = threading.Barrier(2)

    @property
    def rank(self):
        return int(threading.current_thread().name)

    def run_on_main(self, work):
        self.run_everywhere(work if self.rank == 0 else lambda: None)

    def run_everywhere(self, work):
        result = work()
        self.barrier.wait(60)
        return result


def test_a_process_that_is_late_leaves_no_part_out(run, folder, tmp_path, monkeypatch):
    whole = run(folder, "format=jsonl", output="whole").read_bytes()
    wrote, (missing, write) = threading.Event(), (parts.Parts.missing, parts.Parts.write)

    def late(self):
        if threading.current_thread().name == "1":
            wrote.wait(1)  # until the other has a part, if it may
        return missing(self)

    monkeypatch.setattr(many, "Processes", TwoThreads)
    monkeypatch.setattr(parts.Parts, "missing", late)
    monkeypatch.setattr(parts.Parts, "write", lambda *arguments: (write(*arguments), wrote.set()))
    threads = [threading.Thread(target=run, args=(folder, "format=jsonl"), name=str(rank)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "captions" / "captions.jsonl").read_bytes() == whole


def test_damaged_pages_of_a_parquet_file_are_problems_of_their_rows(run, tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"jpg": [bytes([n]) * 40 for n in range(1, 31)]}), path, row_group_size=10)
    content = bytearray(path.read_bytes())
    place = content.index(bytes([11]) * 8)  # the first row of the second group
    content[place - 60 : place + 8] = b"\xff" * 68
    path.write_bytes(content)
    assert list(read(run(path))) == [f"{path}:{row}" for row in (*range(10), *range(20, 30))]
    problems = [json.loads(line) for line in (tmp_path / "captions" / "problems.jsonl").read_text().splitlines()]
    assert [problem["key"] for problem in problems] == [f"{path}:{row}" for row in range(10, 20)]
    for problem in problems:
        assert f"{path}, row group 1 (of 3, from 0), cannot be read as a Parquet file (" in problem["problem"]


def test_other_files_of_a_folder_are_counted(run, folder, capsys):
    for name in ("a.mp3", "b.mp3", "c.txt"):
        (folder / name).touch()
    run(folder, "format=csv")
    printed = capsys.readouterr().err
    assert f"Left out: 2 sounds in {folder}, for the encoder image bytes reads pictures" in printed
    assert "Left out: 1 other file in" in printed
