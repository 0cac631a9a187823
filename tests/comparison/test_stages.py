"""The lines that tell how long a command still takes."""

from __future__ import annotations

import pytest

from comparison import stages as room
from comparison.stages import Stage, StageClock, as_clock, in_words


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is told to go on."""
    now = [0.0]
    monkeypatch.setattr(room.time, "perf_counter", lambda: now[0])

    def go_on(seconds: float) -> None:
        now[0] += seconds

    return go_on


def test_each_stage_is_a_line_with_its_time_and_the_time_left(clock, capsys):
    plan = [
        Stage("preparing", "prepare", 60),
        Stage("training c1", "training", 100),
        Stage("training c3", "training", 100),
    ]
    stages = StageClock([*plan, Stage("training c2", "training", 0)])
    with stages.stage("preparing"):
        clock(120)  # twice as long as planned, so the trainings are thought to take 200 s each
    with stages.stage("training c1"):
        clock(80)  # the next one is thought to take as long
    with stages.stage("training c3"):
        clock(80)
    with stages.stage("training c2"):  # done already
        clock(0)
    assert capsys.readouterr().out.splitlines() == [
        "[1/4] preparing ... 2:00, about 7 min left",
        "[2/4] training c1 ... 1:20, about 80 s left",
        "[3/4] training c3 ... 1:20",
        "[4/4] training c2 ... 0:00",
    ]


def test_a_stage_that_is_not_planned_is_refused():
    with pytest.raises(ValueError, match="The next stage is 'a', not 'b'"), StageClock([Stage("a", "a", 1)]).stage("b"):
        pass


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0:00"), (59.6, "1:00"), (80, "1:20"), (7509, "2:05:09")])
def test_clock_times(seconds, shown):
    assert as_clock(seconds) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(40, "40 s"), (360, "6 min"), (9000, "2.5 h")])
def test_times_in_words(seconds, shown):
    assert in_words(seconds) == shown
