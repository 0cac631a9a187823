"""A report of results as one HTML file: no script, nothing loaded from elsewhere, readable from a disk or an e-mail."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from embedding_space.pictures import open_picture
from evaluation.plots import Example
from evaluation.table import Table

_PICTURE_SIDE = 480  # pixels; a page of 50 photos stays under 3 MB

_STYLE = """
:root { color-scheme: light dark; --ink: #1d1f23; --soft: #5c6068; --line: #dfe1e5; --page: #fbfbfa; --card: #ffffff;
  --accent: #0a5a8f; --best: #e4f0f7; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e3; --soft: #a0a4ab; --line: #3a3d42; --page: #17181a;
  --card: #1f2124; --accent: #7fc1ec; --best: #1d3848; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.55; font-size: 1rem;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 0.8rem; text-wrap: balance; }
h2 { font-size: 1.25rem; letter-spacing: -0.005em; margin: 3rem 0 0.9rem; }
p { max-width: 44rem; margin: 0 0 0.8rem; overflow-wrap: anywhere; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 0.25rem 1.2rem; margin: 1.2rem 0 0;
  padding: 0.9rem 0; border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); font-size: 0.9rem; }
dl.facts dt { color: var(--soft); }
dl.facts dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.94rem; min-width: 60%; }
th, td { padding: 0.42rem 0.9rem; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line); vertical-align: bottom; }
th.number, td.number { text-align: right; }
th:first-child, td:first-child { padding-left: 0.3rem; }
tbody tr:hover { background: color-mix(in srgb, var(--line) 30%, transparent); }
td.best { background: var(--best); font-weight: 700; }
figure { margin: 0 0 2rem; }
figure.plot img { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line); border-radius: 6px;
  padding: 0.6rem; }
figcaption { color: var(--soft); font-size: 0.9rem; max-width: 44rem; margin: 0.5rem 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); gap: 1.4rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
article img, article .absent { display: block; width: 100%; height: 14rem; object-fit: contain; background: #f1f1ef; }
article .absent { display: grid; place-items: center; color: #5c6068; font-size: 0.85rem; padding: 1rem; }
article .words { padding: 0.9rem 1rem 1rem; font-size: 0.92rem; line-height: 1.42; overflow-wrap: anywhere; }
article .id { color: var(--soft); font-size: 0.78rem; margin: 0 0 0.4rem; }
article ul { list-style: none; margin: 0 0 0.7rem; padding: 0; color: var(--soft); font-style: italic; }
article li { margin: 0 0 0.2rem; }
article dl { margin: 0; }
article dt { font-size: 0.78rem; font-weight: 600; color: var(--accent); margin-top: 0.5rem; }
article dd { margin: 0; }
.empty { color: var(--soft); }
ul.notes { max-width: 44rem; padding-left: 1.2rem; color: var(--soft); font-size: 0.92rem; }
@media (max-width: 40rem) { main { padding: 1.6rem 1rem 3rem; } h1 { font-size: 1.55rem; }
  dl.facts { grid-template-columns: 1fr; gap: 0; } dl.facts dd { margin-bottom: 0.5rem; }
  figure.plot img { max-width: none; width: 38rem; } }
@media print { body { background: #fff; } article, figure, tr { break-inside: avoid; } }
"""


def write_report(
    path: str | Path,
    title: str,
    summary: str,
    facts: Mapping[str, str] | None = None,
    tables: Sequence[tuple[str, Table]] = (),
    plots: Sequence[tuple[str, Figure]] = (),
    examples: Sequence[Example] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write the report to `path`, whole or not at all. A section without content is left out.

    summary: paragraphs of plain text, separated by empty lines. facts: {name: value}, such as the command, seeds,
    machine and date. tables and plots: (caption, what it is of). examples: pictures with captions; a picture that
    cannot be read is replaced by its name. Nothing is taken for HTML.
    """
    sections = [
        f"<h1>{_text(title)}</h1>",
        *(f"<p>{_text(paragraph)}</p>" for paragraph in summary.split("\n\n") if paragraph.strip()),
    ]
    if facts:
        items = "".join(f"<dt>{_text(name)}</dt><dd>{_text(str(value))}</dd>" for name, value in facts.items())
        sections.append(f'<dl class="facts">{items}</dl>')
    if tables:
        sections += ["<h2>Results</h2>", *(_table(caption, table) for caption, table in tables)]
    if plots:
        sections += ["<h2>Plots</h2>", *(_plot(caption, figure) for caption, figure in plots)]
    if examples:
        cards = "\n".join(_example(example) for example in examples)
        sections += ["<h2>Pictures and captions</h2>", f'<div class="grid">\n{cards}\n</div>']
    if notes:
        items = "".join(f"<li>{_text(note)}</li>" for note in notes)
        sections += ["<h2>Notes</h2>", f'<ul class="notes">{items}</ul>']
    body = "\n".join(sections)
    # The policy has the browser keep what the first line of this file promises.
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{_text(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    # A caption from a broken tokenizer can hold half a surrogate pair, which UTF-8 cannot.
    unfinished.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")
    unfinished.replace(path)


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
            f"<td{_class('number' if number else '', 'best' if cell.best else '')}>{_text(cell.text)}</td>"
            for cell, number in zip(row, numeric, strict=True)
        )
        + "</tr>"
        for row in cells
    )
    return (
        f'<figure><figcaption>{_text(caption)}</figcaption><div class="scroll"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div></figure>"
    )


def _class(*names: str) -> str:
    given = " ".join(name for name in names if name)
    return f' class="{given}"' if given else ""


def _plot(caption: str, figure: Figure) -> str:
    # As an image, not inline: the identifiers inside two inlined SVGs would collide.
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "path"}):  # glyphs as outlines: the same letters on every machine
        figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None})
    picture = f'<img src="{_data_uri(buffer.getvalue(), "image/svg+xml")}" alt="{_text(caption)}">'
    return f'<figure class="plot"><div class="scroll">{picture}</div><figcaption>{_text(caption)}</figcaption></figure>'


def _example(example: Example) -> str:
    references = "".join(f"<li>{_text(reference)}</li>" for reference in example.references)
    captions = "".join(
        f"<dt>{_text(method)}</dt><dd>{_text(caption)}</dd>"
        if caption.strip()
        else f'<dt>{_text(method)}</dt><dd class="empty">(empty)</dd>'
        for method, caption in example.captions.items()
    )
    return (
        f'<article>{_picture(example)}<div class="words"><p class="id">{_text(example.image_id)}</p>'
        f"<ul>{references}</ul><dl>{captions}</dl></div></article>"
    )


def _picture(example: Example) -> str:
    try:
        picture = open_picture(example.image_path)
    except (FileNotFoundError, ValueError):
        return f'<div class="absent">cannot be read: {_text(Path(example.image_path).name)}</div>'
    picture.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
    buffer = io.BytesIO()
    if max(picture.size) <= 160:  # drawn scenes of few pixels, which JPEG would blur
        picture.save(buffer, "PNG")
        source = _data_uri(buffer.getvalue(), "image/png")
    else:
        picture.save(buffer, "JPEG", quality=85)
        source = _data_uri(buffer.getvalue(), "image/jpeg")
    return f'<img src="{source}" alt="{_text(example.references[0] if example.references else example.image_id)}">'


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
