"""Rules of the house that no linter holds: configs say what they are, and files stay small."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for room in ROOT.glob("*/__init__.py") for path in room.parent.rglob("*.py"))
SOURCES += sorted(path for folder in ("scripts", "tests") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_config_says_what_it_is_and_the_command_that_uses_it(path):
    first, second = path.read_text().splitlines()[:2]
    comment = second if first.startswith("# @package") else first
    assert comment.startswith("# ") and ("python " in comment or "make " in comment)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= 400
