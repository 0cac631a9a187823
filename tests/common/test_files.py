"""Files are written whole or not at all."""

from __future__ import annotations

import pytest

from common.files import whole_file, write_whole


def test_a_file_is_there_whole_and_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with whole_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half" and list(path.parent.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with whole_file(path) as first, whole_file(path) as second:
        first.write_text("one")
        second.write_text("two")
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_the_earlier_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def fail() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a.txt"):
        pass


def test_half_characters_are_escaped(tmp_path):
    write_whole(tmp_path / "a.json", '"\ud83d"')
    write_whole(tmp_path / "a.html", "\ud83d", errors="xmlcharrefreplace")
    assert (tmp_path / "a.json").read_text() == '"\\ud83d"' and (tmp_path / "a.html").read_text() == "&#55357;"
