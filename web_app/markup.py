"""Answers as HTML: tables, lists and figures, also for screen readers. Templates escape all text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from embedding_space.media import Medium
from web_app.charts import path_chart, way_chart
from web_app.look import Answer, Inside
from web_app.painting import Drawing
from web_app.previews import Preview, of_picture

TEMPLATES = Path(__file__).parent / "templates"
MOST_SHADE = 60  # percent of the accent color behind a word that is not likely at all
ENVIRONMENT = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def _render(template: str, **data: object) -> str:
    return ENVIRONMENT.get_template(template).render(data).replace("\0", "")


def captions(answers: Sequence[Answer], checkpoint: str) -> str:
    """Every method's caption; `checkpoint` is the page's, whose name is left out."""
    return _render("captions.html", answers=answers, checkpoint=checkpoint)


def beams(inside: Inside) -> str:
    """The hypotheses with their scores."""
    return _render("beams.html", beams=inside.beams, method=inside.method, caption=inside.caption)


def near_texts(inside: Inside, medium: Medium) -> str:
    """Texts of the memory near the image, with cosines."""
    return _render("near.html", near=inside.near, medium=medium)


def words(inside: Inside) -> str:
    """The caption's words over their probabilities; the darker, the less likely."""
    listed = []
    for word in inside.words:
        probability = math.exp(word.log_probability)
        percent = f"{100 * probability:.0f} %" if probability >= 0.01 else "< 1 %"
        listed.append({"text": word.text, "percent": percent, "shade": round(MOST_SHADE * (1 - probability))})
    total = sum(word.log_probability for word in inside.words)
    return _render("words.html", words=listed, total=total, caption=inside.caption, method=inside.method)


def way(inside: Inside, medium: Medium) -> str:
    """The two charts of the way, and in words what they show."""
    if inside.way is None:
        return _render("way.html", way=None, medium=medium)
    stops = inside.way.stops
    said = "Cosine to the embedding of the caption: " + ", ".join(f"{s.name} {s.cosine:.2f}" for s in stops) + "."
    charts = {"cosines": Markup(way_chart(inside.way)), "path": Markup(path_chart(inside.way, medium))}
    return _render("way.html", way=inside.way, said=said, medium=medium, **charts)


def upload(shown: Preview, name: str, description: str) -> str:
    """A visitor's file; its caption is the text in the picture's place."""
    return _render("upload.html", shown=shown, name=name, description=description)


def drawing(drawn: Drawing, generator: str) -> str:
    """A drawn picture, with what it is and which words it was drawn without."""
    return _render("drawing.html", shown=of_picture(drawn.picture, drawn=True), drawing=drawn, generator=generator)


def problem(sentence: str) -> str:
    """What went wrong, which screen readers announce at once."""
    return _render("problem.html", sentence=sentence)
