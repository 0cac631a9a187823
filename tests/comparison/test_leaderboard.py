"""The leaderboards' experiments: their methods and tries are there, and what they sweep is the methods' own."""

from __future__ import annotations

from functools import cache

import pytest

from common.config import compose_config
from comparison.few_pairs import check_startable
from comparison.methods import find_methods


@cache
def options_of(alignment: str) -> frozenset[str]:
    return frozenset(map(str, compose_config("image_captioning", f"alignment={alignment}").alignment))


@pytest.mark.parametrize(
    ("experiment", "encoder"), [("leaderboard", "demo_clip"), ("leaderboard_photos", "photo_clip")]
)
def test_every_method_but_those_without_an_option_has_three_tries_of_its_own(compose, experiment, encoder):
    config = compose("compare_methods", f"experiment={experiment}")
    assert config.encoder.name == encoder and config.name == f"{config.dataset.name}_leaderboard"
    methods = {method.name: method for method in find_methods(config.methods, [], config.variants)}
    untried = {"c1", "c2_collapse", "memory_bridge_self_trained"}
    assert len(methods) == 23 and set(config.methods) - set(config.tries) == untried
    for method, tries in config.tries.items():
        assert len({tuple(overrides) for overrides in tries}) == 3
        for overrides in tries:
            for option in (text.partition("=")[0] for text in overrides):
                assert option.removeprefix("alignment.") in options_of(methods[method].alignment)
    assert list(config.decodings) == ["greedy", "beam3", "clip_rerank", "consensus"]


def test_tries_may_be_named_on_the_command_line(compose):
    config = compose("compare_methods", '+tries={c3:[["alignment.noise_std=0.04"],[]]}', "tune_seed=0")
    assert config.tries == {"c3": [["alignment.noise_std=0.04"], []]}


def test_the_semi_supervised_curve_has_the_shares_of_the_paper(compose):
    config = compose("compare_methods", "experiment=semi_supervised")
    assert list(config.few_pairs) == [0.01, 0.05, 0.1, 0.25, 1] and config.name == "demo_semi_supervised"
    check_startable(find_methods(config.methods, [], config.variants))
