"""A report of results as one HTML file that loads nothing else, readable from a disk or an e-mail.

Its look is in `templates/`. Its scripts sort the pictures and pick from the table of tests; without them, both are
there in their own order.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from common.files import write_whole
from embedding_space.media import NAMES
from evaluation.reports.example import Example
from evaluation.reports.forest import Forest
from evaluation.reports.gallery import patch_layers, sorting
from evaluation.reports.pair_matrix import PairMatrix
from evaluation.reports.pair_table import PairTable
from evaluation.reports.previews import data_uri, sound_source, thumbnail
from evaluation.table import Table

TEMPLATES = Path(__file__).parent / "templates"
DRAWN = 160  # pixels: pictures up to this size are drawn scenes, which JPEG would blur


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
    pairs: Sequence[PairMatrix] = (),
    pair_table: PairTable | None = None,
) -> None:
    """Write the report to `path`, whole or not at all. A section without content is left out.

    Args:
        summary: paragraphs of plain text, separated by empty lines.
        facts: {name: value}, such as the command, seeds, machine and date.
        tables: (caption, table) of each.
        plots: (caption, content of an SVG file) of each.
        examples: pictures with captions; a picture that cannot be read is replaced by its name. A video is a strip of
            its frames, a sound can be played, if its file is not too large for a page. If they have scores,
            they can be sorted by the difference of any two methods. Patches that a method gives to words are drawn over
            them, and can be hidden.
        forests: intervals, drawn in the page's colors.
        configuration: text as it is, such as YAML.
        picture_side: the most pixels of a picture's longer side.
        versus: the second of the two methods at first.
        pairs: differences between every two methods.
        pair_table: their tests, from which a reader picks.
    """
    shown_sorting = sorting(examples, versus)
    needed = {"report.js": shown_sorting, "pair_table.js": pair_table}
    scripts = [(TEMPLATES / name).read_text(encoding="utf-8") for name, needs in needed.items() if needs]
    page = render(
        "report.html",
        title=title,
        paragraphs=[paragraph for paragraph in summary.split("\n\n") if paragraph.strip()],
        facts=facts,
        tables=tables,
        plots=[(caption, data_uri(content, "image/svg+xml")) for caption, content in plots],
        cards=[(example, _picture(example, picture_side)) for example in examples],
        sorting=shown_sorting,
        layers=patch_layers(examples),
        gallery=f"{NAMES[examples[0].medium].capitalize() if examples else 'Pictures'} and captions",
        notes=notes,
        forests=forests,
        pairs=pairs,
        pair_table=pair_table,
        warnings=warnings,
        configuration=configuration.strip(),
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        scripts=[Markup(script) for script in scripts],
        script_hashes=[
            f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
        ],
    )
    # A caption from a broken tokenizer can hold half a surrogate pair, which UTF-8 cannot.
    write_whole(path, page, errors="xmlcharrefreplace")


def render(template: str, **data: object) -> str:
    """A file of `templates/` filled with escaped data."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["anchor"] = lambda name: name.lower().replace(" ", "-")
    environment.filters["file_name"] = lambda path: Path(path).name
    return environment.get_template(template).render(data).replace("\0", "")


def _picture(example: Example, side: int) -> dict | None:
    picture = thumbnail(example, side)
    if picture is None:
        return None
    drawn = max(picture.size) <= min(DRAWN, side - 1)
    buffer = io.BytesIO()
    picture.save(buffer, **({"format": "PNG"} if drawn else {"format": "JPEG", "quality": 82, "optimize": True}))
    source = data_uri(buffer.getvalue(), "image/png" if drawn else "image/jpeg")
    sound = sound_source(example) if example.medium == "sound" else None
    return {"source": source, "width": picture.width, "height": picture.height, "sound": sound}
