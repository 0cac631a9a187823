"""Folders, lists and words: which files they mean, in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedding_space.sources.files import Folder, PathList
from embedding_space.sources.names import expand, is_list, is_packed
from embedding_space.sources.open import open_source
from scripts.caption import take_paths


@pytest.fixture
def folder(tmp_path):
    names = (
        "b/z.png",
        "b.png",
        "a/c.jpg",
        "a/.d.jpg",
        ".hidden/e.jpg",
        "a.jpg",
        "B.JPG",
        "a/deep/f.webp",
        "n.txt",
        "v.mp4",
    )
    for name in names:
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "root"


def test_a_folder_is_walked_in_the_order_of_all_its_paths(folder):
    source = Folder(folder, "image")
    pictures = (".jpg", ".png", ".webp")
    files = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in pictures and not p.name.startswith(".")]
    assert [row.key for row in source.rows()] == [str(path) for path in files] and len(files) == 7
    assert [row.read() for row in source.rows()] == files
    assert source.others == {"videos": 1, "other files": 1}  # of one pass


def test_a_list_has_a_path_a_line(tmp_path):
    (tmp_path / "list.txt").write_text("a b.jpg\n\n  c.png\r\n/d/e=f.gif\n")
    source = open_source(Path(f"@{tmp_path}/list.txt"), "image")
    assert [(row.key, row.read()) for row in source.rows()] == [
        (name, Path(name)) for name in ("a b.jpg", "  c.png", "/d/e=f.gif")
    ]
    (tmp_path / "list.txt").write_text("a.jpg\nb.tar\n")
    with pytest.raises(ValueError, match=r"list.txt, line 2 names b.tar, which holds many files: name it on the comm"):
        list(PathList(tmp_path / "list.txt", (".tar",)).rows())


def test_words_mean_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(11):
        Path(f"s-{number:02d}.tar").touch()
    assert expand("s-{00..10}.tar") == [Path(f"s-{number:02d}.tar") for number in range(11)]
    assert expand("s-0[1-3].t?r") == expand("s-{01,02,03}.tar") == [Path(f"s-0{number}.tar") for number in (1, 2, 3)]
    with pytest.raises(
        FileNotFoundError, match=r"2 of the 13 files of s-\{00\.\.12\}\.tar are missing: s-11.tar, s-12"
    ):
        expand("s-{00..12}.tar")
    with pytest.raises(FileNotFoundError, match=r"There is no file or folder 'x\*.tar'"):
        expand("x*.tar")


def test_braces_without_their_library_name_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("common.extras.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'braceexpand is not installed: pip install -e ".\[batch\]"'):
        expand("s-{0..1}.tar")


def test_a_command_line_is_split_into_files_and_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "split=a").mkdir(parents=True)
    for name in ("l.txt", "@at.jpg", "x.parquet", "data/split=a/0.tar", "data/split=a/1.tar"):
        Path(name).touch()
    words = ["@l.txt", "@at.jpg", "format=csv", "x.parquet", "data/split=a/*.tar", "decoding={beams: 3}", "-m", "~a"]
    paths, options = take_paths(words)
    assert [str(path) for path in paths] == [
        "@l.txt",
        "@at.jpg",
        "x.parquet",
        "data/split=a/0.tar",
        "data/split=a/1.tar",
    ]
    assert options == ["format=csv", "decoding={beams: 3}", "-m", "~a"]
    assert [is_list(path) for path in paths] == [True, False, False, False, False]
    assert [is_packed(path) for path in paths] == [False, False, True, True, True]
    with pytest.raises(FileNotFoundError, match=r"no file or folder '@gone.txt'"):
        take_paths(["@gone.txt"])


def test_the_home_folder_is_meant_in_quotes_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("a.jpg", "b.jpg", "l.txt"):
        (tmp_path / name).touch()
    paths, options = take_paths(["~/*.jpg", "~/a.jpg", "@~/l.txt", "~experiment", "decoding={beams: 3}"])
    assert paths == [tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "a.jpg", Path(f"@{tmp_path}/l.txt")]
    assert options == ["~experiment", "decoding={beams: 3}"]
