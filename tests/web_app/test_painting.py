"""Pictures of sentences for the page: drawn as the command draws, labeled as what the generator knows."""

from __future__ import annotations

import numpy as np
import pytest

from image_generation.generator import ImageGenerator
from web_app.desk import Desk
from web_app.handlers import Handlers
from web_app.painting import Painter
from web_app.uploads import Limits


@pytest.fixture(scope="module")
def painter() -> Painter:
    made = Painter.load("demo_painter", "fp32")
    made.source.sampling = type(made.source.sampling)(steps=2)  # pyright: ignore[reportAttributeAccessIssue]
    return made


def test_it_draws_what_the_generator_draws_and_says_what_it_knows(painter):
    drawn = painter.draw("  a yellow taxi\nin a city ", 3)
    source = painter.source
    rows = source.rows(["a yellow taxi in a city"])
    again = ImageGenerator.load("demo_painter").generate(rows, [3], source.sampling, "fp32")[0]  # pyright: ignore
    assert np.array_equal(np.asarray(drawn.picture), again.numpy())
    assert drawn.picture.size == (64, 64) and drawn.unknown == []
    assert "40,000 pictures of demo_pictures" in painter.knows and "nothing else" in painter.knows


def test_words_that_it_does_not_know_are_named_and_escaped(painter, desk: Desk):
    handlers = Handlers(desk, Limits(), painter)
    page = handlers.draw("a zyzzyva <b> on a beach", 0)
    assert "It does not know “zyzzyva”" in page and "<b>" not in page and 'alt="Drawn from the sentence' in page


@pytest.mark.parametrize(
    ("sentence", "seed", "words"),
    [
        (" ", 0, "Write a sentence"),
        ("x" * 301, 0, "has 301 characters, and 300 is the limit"),
        ("a boat", -1, "seed=-1 must be a whole number"),
        ("a boat", 0.5, "seed=0.5 must be a whole number"),
        ("a boat", None, "seed=None must be a whole number"),
        ("a boat", float("inf"), "seed=inf must be a whole number"),
    ],
)
def test_what_cannot_be_drawn_is_said(painter, desk: Desk, sentence, seed, words):
    page = Handlers(desk, Limits(), painter).draw(sentence, seed)
    assert 'role="alert"' in page and words in page
