"""A report of results as one HTML file: nothing loaded from elsewhere, readable from a disk or an e-mail.

Its one script sorts the pictures; without it they stand in the data set's order, and nothing is missing.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from common.files import write_whole
from embedding_space.pictures import open_picture
from evaluation.reports.forest import Forest
from evaluation.reports.gallery import SCRIPT, controls, score_list, sortable
from evaluation.reports.plots import Example
from evaluation.reports.report_style import STYLE
from evaluation.table import Table


def write_report(
    path: str | Path,
    title: str,
    summary: str,
    facts: Mapping[str, str] | None = None,
    tables: Sequence[tuple[str, Table]] = (),
    plots: Sequence[tuple[str, bytes]] = (),
    examples: Sequence[Example] = (),
    notes: Sequence[str] = (),
    forests: Sequence[Forest] = (),
    warnings: Sequence[str] = (),
    configuration: str = "",
    picture_side: int = 320,
    versus: str | None = None,
) -> None:
    """Write the report to `path`, whole or not at all. A section without content is left out.

    summary: paragraphs of plain text, separated by empty lines. facts: {name: value}, such as the command, seeds,
    machine and date. tables: (caption, table); plots: (caption, SVG file's content); forests: intervals, drawn in the
    page's own colours. examples: pictures with captions, at most `picture_side` pixels long; a picture that cannot be
    read is replaced by its name. Where they have scores they can be sorted by the difference of any two methods,
    `versus` being the second at first. configuration: text as it is, such as YAML. Nothing is taken for HTML.
    """
    sorting = bool(examples) and sortable(examples)
    sections = {
        "Warnings": _warnings(warnings),
        "Results": [_table(caption, table) for caption, table in tables],
        "Intervals": [_forest(forest) for forest in forests],
        "Plots": [_plot(caption, content) for caption, content in plots],
        "Pictures and captions": _gallery(examples, picture_side, versus if sorting else None, sorting),
        "Notes": [f'<ul class="notes">{"".join(f"<li>{_text(note)}</li>" for note in notes)}</ul>'] if notes else [],
        "Configuration": [_configuration(configuration)] if configuration.strip() else [],
    }
    sections = {name: parts for name, parts in sections.items() if parts}
    head = [
        f"<h1>{_text(title)}</h1>",
        *(f"<p>{_text(paragraph)}</p>" for paragraph in summary.split("\n\n") if paragraph.strip()),
    ]
    if len(sections) > 1:
        links = "".join(f'<li><a href="#{_anchor(name)}">{name}</a></li>' for name in sections)
        head.append(f'<nav aria-label="Sections"><ul>{links}</ul></nav>')
    if facts:
        items = "".join(f"<dt>{_text(name)}</dt><dd>{_text(str(value))}</dd>" for name, value in facts.items())
        head.append(f'<dl class="facts">{items}</dl>')
    body = [f"<header>\n{chr(10).join(head)}\n</header>"]
    for name, parts in sections.items():
        anchor = _anchor(name)
        body.append(f'<section aria-labelledby="{anchor}">\n<h2 id="{anchor}">{name}</h2>')
        body += [*parts, "</section>"]
    # The policy has the browser keep what the first line of this file promises.
    script, policy = "", "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if sorting:
        script = f"<script>{SCRIPT}</script>\n"
        policy += f"; script-src 'sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}'"
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{_text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{chr(10).join(body)}
</main>
{script}</body>
</html>
"""
    # A caption from a broken tokenizer can hold half a surrogate pair, which UTF-8 cannot.
    write_whole(path, page, errors="xmlcharrefreplace")


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _warnings(warnings: Sequence[str]) -> list[str]:
    if not warnings:
        return []
    items = "".join(f"<li>{_text(warning)}</li>" for warning in warnings)
    if len(warnings) <= 5:
        return [f'<ul class="warnings">{items}</ul>']
    return [f'<details class="warnings"><summary>{len(warnings)} warnings</summary><ul>{items}</ul></details>']


def _configuration(text: str) -> str:
    return f'<details><summary>All options</summary><pre tabindex="0">{_text(text)}</pre></details>'


def _forest(forest: Forest) -> str:
    return f"<figure><figcaption>{_text(forest.title)}</figcaption>{forest.legend()}{forest.svg()}</figure>"


def _gallery(examples: Sequence[Example], picture_side: int, versus: str | None, sorting: bool) -> list[str]:
    if not examples:
        return []
    cards = "\n".join(_example(example, picture_side, sorting) for example in examples)
    form = [controls(examples, versus)] if sorting else []
    return [*form, f'<div class="grid" id="pictures">\n{cards}\n</div>']


def _text(text: str) -> str:
    return escape(text.replace("\0", ""), quote=True)


def _table(caption: str, table: Table) -> str:
    cells = table.cells()
    numeric = [bool(cells) and all(row[n].numeric for row in cells) for n in range(len(table.header()))]
    head = "".join(
        f'<th scope="col"{_class("number" if number else "")}>{_text(column.name)}</th>'
        for column, number in zip(table.header(), numeric, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{_text(cell.text)}</th>'
            if n == 0 and not number
            else f"<td{_class('number' if number else '', 'best' if cell.best else '')}>{_text(cell.text)}</td>"
            for n, (cell, number) in enumerate(zip(row, numeric, strict=True))
        )
        + "</tr>"
        for row in cells
    )
    return (
        f"<figure><figcaption>{_text(caption)}</figcaption>{_scrolled(caption)}<table>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div></figure>"
    )


def _class(*names: str) -> str:
    given = " ".join(name for name in names if name)
    return f' class="{given}"' if given else ""


def _scrolled(caption: str) -> str:
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{_text(caption)}">'


def _plot(caption: str, content: bytes) -> str:
    # As an image, not inline: the identifiers inside two inlined SVGs would collide.
    picture = f'<img src="{_data_uri(content, "image/svg+xml")}" alt="{_text(caption)}">'
    return f'<figure class="plot">{_scrolled(caption)}{picture}</div><figcaption>{_text(caption)}</figcaption></figure>'


def _example(example: Example, picture_side: int, sorting: bool) -> str:
    references = "".join(f"<li>{_text(reference)}</li>" for reference in example.references)
    captions = "".join(_caption(method, caption, example) for method, caption in example.captions.items())
    difference = '<span class="difference"></span>' if sorting else ""
    return (
        f"<article{score_list(example) if sorting else ''}>{_picture(example, picture_side)}"
        f'<div class="words"><h3 class="id">{_text(example.image_id)}{difference}</h3>'
        f'<ul aria-label="References">{references}</ul><dl>{captions}</dl></div></article>'
    )


def _caption(method: str, caption: str, example: Example) -> str:
    score = f' <span class="score">{example.scores[method]:.1f}</span>' if method in example.scores else ""
    said = f"<dd>{_text(caption)}</dd>" if caption.strip() else '<dd class="empty">(empty)</dd>'
    return f"<div><dt>{_text(method)}{score}</dt>{said}</div>"


def _picture(example: Example, side: int) -> str:
    try:
        picture = open_picture(example.image_path)
    except (FileNotFoundError, ValueError):
        return f'<div class="absent">cannot be read: {_text(Path(example.image_path).name)}</div>'
    drawn = max(picture.size) <= 160  # scenes of few pixels, which JPEG would blur
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    if drawn:
        picture.save(buffer, "PNG")
        source = _data_uri(buffer.getvalue(), "image/png")
    else:
        picture.save(buffer, "JPEG", quality=82, optimize=True)
        source = _data_uri(buffer.getvalue(), "image/jpeg")
    alt = _text(example.references[0] if example.references else example.image_id)
    return f'<img src="{source}" width="{picture.width}" height="{picture.height}" alt="{alt}">'


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
