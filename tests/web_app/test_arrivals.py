"""Files that wait: each visitor's own, bounded in number, and gone when read, left, late or refused."""

from __future__ import annotations

import pytest

from web_app import arrivals as module
from web_app.arrivals import Arrivals
from web_app.desk import Busy
from web_app.uploads import Upload


@pytest.fixture
def arrivals(tmp_path) -> Arrivals:
    return Arrivals(tmp_path / "uploads", "image", most=3)


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """Its one entry is the time."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def left_over(arrivals: Arrivals) -> list:
    return list(arrivals.folder.rglob("*"))


def test_two_files_of_one_name_and_content_are_two(arrivals):
    one, two = arrivals.add(Upload("dog.PNG", b"x")), arrivals.add(Upload("dog.PNG", b"x"))
    assert one != two and one.name == "file.png" and arrivals.name(one) == "dog.PNG"
    arrivals.delete([one])
    assert two.read_bytes() == b"x" and len(left_over(arrivals)) == 2
    arrivals.delete([two, two, one])
    assert left_over(arrivals) == []


@pytest.mark.parametrize(
    "name", ["../../evil.png", "a/b\\c.png", "\0.png", "x" * 500 + ".png", ".png", "", "\ud83d.png"]
)
def test_names_of_visitors_name_no_files_here(arrivals, name):
    path = arrivals.add(Upload(name, b"x"))
    assert path.parent.parent == arrivals.folder and path.name in ("file.png", "file")


def test_more_than_the_most_are_refused_until_one_is_read(arrivals):
    paths = [arrivals.add(Upload("a.png", b"x")) for _ in range(3)]
    with pytest.raises(Busy, match="3 files wait already"):
        arrivals.add(Upload("a.png", b"x"))
    arrivals.delete(paths[:1])
    assert arrivals.add(Upload("a.png", b"x")).exists()


def test_a_file_whose_request_never_came_goes_soon_and_one_in_the_queue_stays(arrivals, clock):
    forgotten, asked = arrivals.add(Upload("a.png", b"x")), arrivals.add(Upload("b.png", b"x"))
    arrivals.asked([asked, arrivals.folder / "nothing"], "me")
    clock[0] = module.UNASKED_SECONDS + 1
    arrivals.sweep()
    assert not forgotten.parent.exists() and asked.exists()
    clock[0] = module.ASKED_SECONDS + 1
    arrivals.sweep()
    assert left_over(arrivals) == []


def test_who_leaves_takes_only_their_files_along(arrivals):
    mine, yours = arrivals.add(Upload("a.png", b"x")), arrivals.add(Upload("b.png", b"x"))
    arrivals.asked([mine], "me")
    arrivals.asked([yours], "you")
    arrivals.left("me")
    assert not mine.exists() and yours.exists()
    arrivals.clear()
    assert left_over(arrivals) == []


def test_a_file_that_cannot_be_written_takes_no_place(arrivals):
    arrivals.folder.write_bytes(b"a file where the folder should be")
    for _ in range(5):
        with pytest.raises(OSError, match="uploads"):
            arrivals.add(Upload("a.png", b"x"))
