"""The page's state out of a link's query, which templates/page.js writes. A picture is in no link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.characters import whole_characters

SENTENCE_LENGTH = 300  # characters of a sentence to draw
LARGEST_SEED = 2**31 - 1
MOST_STEPS = 50  # of denoising, on the page: every step costs time


@dataclass(frozen=True)
class PageState:
    """What a visitor has set.

    Attributes:
        method: which method is looked into.
        timestep, steps: of the bridge; 0 where the checkpoint has none.
        sentence, seed: of the picture to draw.
    """

    method: str
    timestep: int
    steps: int
    sentence: str = ""
    seed: int = 0


def most_steps(usual: PageState) -> int:
    """The end of the slider of denoising steps: `MOST_STEPS`, or as many as the checkpoint takes by itself."""
    return max(MOST_STEPS, usual.steps)


def read_query(
    query: Mapping[str, str], usual: PageState, methods: Sequence[str], timesteps: int
) -> tuple[PageState, list[str]]:
    """The state of a link, and what in it could not be read, a sentence each; the usual values stand for that.

    Args:
        query: the link's parameters; those of other names are not ours.
        usual: the page's state without a link.
        methods: known ones.
        timesteps: T of the bridge; 0 where there is none.
    """
    problems: list[str] = []
    timestep = _whole(query, "timestep", usual.timestep, 1, timesteps, problems) if timesteps else 0
    steps = _whole(query, "steps", usual.steps, 1, most_steps(usual), problems) if timesteps else 0
    steps = min(steps, timestep)  # as the page does when its timestep is made smaller
    if not timesteps and {"timestep", "steps"} & set(query):
        problems.append("timestep and steps do nothing here: this checkpoint has no diffusion step")
    method = query.get("method", usual.method)
    if method not in methods:
        problems.append(f"method={method[:40]!r} is none of {', '.join(methods)}")
        method = usual.method
    sentence = whole_characters(query.get("sentence", usual.sentence))
    if len(sentence) > SENTENCE_LENGTH:
        problems.append(f"the sentence has {len(sentence)} characters, and {SENTENCE_LENGTH} is the limit")
        sentence = usual.sentence
    seed = _whole(query, "seed", usual.seed, 0, LARGEST_SEED, problems)
    return PageState(method, timestep, steps, sentence, seed), problems


def _whole(query: Mapping[str, str], name: str, usual: int, least: int, most: int, problems: list[str]) -> int:
    text = query.get(name)
    if text is None:
        return usual
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
    if value is None or not least <= value <= most:
        problems.append(f"{name}={text[:40]!r} must be a whole number from {least} to {most}")
        return usual
    return value
