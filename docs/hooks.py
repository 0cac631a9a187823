"""Lets the site show what the repository keeps outside `docs/`, under links that also work in a checkout."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"data/README.md": "data.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
FILES = ("figures/*.png", "results/*.json")


def on_files(files, config):
    """Add `PAGES`, and `FILES` under their own names."""
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
    return re.sub(r"\]\(\.\./(figures|results)/", r"](\1/", markdown)
