"""Of a visitor who left nothing stays, also where an answer under way comes back late; who is there keeps all."""

from __future__ import annotations

from web_app import visitors as module
from web_app.arrivals import Arrivals
from web_app.uploads import Upload
from web_app.visitors import Visitors


def test_what_comes_late_is_forgotten_until_the_visitor_is_back(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    states = {"me": 1, "you": 2}
    visitors = Visitors(Arrivals(tmp_path / "waiting", "image", 9), states)
    path = visitors.arrivals.add(Upload("a.png", b"x"))
    visitors.arrivals.asked([path], "me")
    visitors.left("me")
    assert states == {"you": 2} and not path.exists()
    states["me"] = 3  # by an answer that was under way
    visitors.sweep()
    assert states == {"you": 2}
    states["me"] = 4
    visitors.came("me")
    visitors.sweep()
    assert states == {"you": 2, "me": 4}
    visitors.left("you")
    now[0] = module.ASKED_SECONDS + 1
    states["you"] = 5  # so long after, it is a visit that has not said so yet
    visitors.sweep()
    assert states == {"you": 5, "me": 4}
    visitors.clear()
    assert states == {}
