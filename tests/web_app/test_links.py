"""The state of a link: what is right is restored, and what is wrong is said."""

from __future__ import annotations

from web_app.links import PageState, most_steps, read_query

USUAL = PageState("memory_bridge", 100, 1)
METHODS = ["raw", "bridge", "memory_bridge"]


def read(timesteps: int = 1000, **query: str):
    usual = USUAL if timesteps else PageState("raw", 0, 0)
    return read_query(query, usual, METHODS, timesteps)


def test_a_link_restores_the_state():
    state, problems = read(method="bridge", timestep="300", steps="7", sentence="a boat", seed="12", utm="x")
    assert state == PageState("bridge", 300, 7, "a boat", 12) and not problems
    assert read() == (USUAL, [])


def test_what_cannot_be_read_is_said_and_the_rest_restored():
    state, problems = read(method="nope", timestep="1e3", steps="0", seed="-1", sentence="x" * 301)
    assert state == USUAL and len(problems) == 5
    assert "method='nope' is none of raw, bridge, memory_bridge" in problems
    assert "timestep='1e3' must be a whole number from 1 to 1000" in problems
    assert read(timestep="٣")[1] and read(timestep="9" * 5000)[1]  # digits of other scripts, numbers without end
    assert read(steps="51")[1] == ["steps='51' must be a whole number from 1 to 50"]
    assert read(sentence="\ud83d")[0].sentence == "\ufffd"


def test_fewer_timesteps_than_the_usual_steps():
    usual = PageState("bridge", 600, 5)
    assert read_query({"timestep": "3"}, usual, METHODS, 1000)[0].steps == 3


def test_more_steps_than_the_timestep_are_as_many_as_it_allows():
    state, problems = read(timestep="10", steps="20")  # the page wrote such links, too
    assert (state.timestep, state.steps, problems) == (10, 10, [])


def test_a_checkpoint_may_take_more_steps_than_the_page_offers_by_itself():
    usual = PageState("bridge", 600, 80)
    assert most_steps(usual) == 80 and most_steps(USUAL) == 50
    assert read_query({}, usual, METHODS, 1000) == (usual, [])
    assert read_query({"steps": "70"}, usual, METHODS, 1000)[0].steps == 70


def test_a_checkpoint_without_a_bridge_says_that_its_values_do_nothing():
    state, problems = read(0, timestep="5")
    assert state.timestep == 0 and problems == [
        "timestep and steps do nothing here: this checkpoint has no diffusion step"
    ]
