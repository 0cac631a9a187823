"""Lets the site show what the repository keeps outside `docs/`, under links that also work in a checkout."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.structure.files import File
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"data/README.md": "data.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
FILES = ("figures/*.png", "results/*.json")
NOTEBOOK = "tour"  # docs/tour.ipynb with its stored outputs is the page tour.md; nothing is run


def on_files(files, config):
    """Add `PAGES`, the notebook's page and pictures, and `FILES` under their own names."""
    options = {"output_files_dir": f"{NOTEBOOK}_files", "unique_key": NOTEBOOK}
    text, resources = MarkdownExporter().from_filename(str(ROOT / f"docs/{NOTEBOOK}.ipynb"), dict(options))
    files.append(File.generated(config, f"{NOTEBOOK}.md", content=text))
    for name, content in resources["outputs"].items():
        files.append(File.generated(config, name, content=content))
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    for path in (path for pattern in FILES for path in sorted(ROOT.glob(pattern))):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, **_):
    """Make links that leave `docs/` or come into it, as `../results/demo.json` and `docs/extending.md`, the site's."""
    markdown = re.sub(r"\]\((?:\.\./)?docs/", "](", markdown)
    for source, page in PAGES.items():
        markdown = markdown.replace(f"](../{source}", f"]({page}")
    markdown = markdown.replace(f"]({NOTEBOOK}.ipynb)", f"]({NOTEBOOK}.md)")
    return re.sub(r"\]\(\.\./(figures|results)/", r"](\1/", markdown)
