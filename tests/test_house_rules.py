"""DESIGN's rules that a machine can hold: who may import whom, and configs that say what they are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = [
    {"common"},
    {"embedding_space", "training"},
    {"alignment", "evaluation", "demo_world"},
    {"ddpm", "contrastive"},
    {"modality_translation"},
    {"image_captioning"},
    {"comparison"},
]
MAY_IMPORT = {room: set().union(*FLOORS[:floor]) for floor, rooms in enumerate(FLOORS) for room in rooms}
ROOMS = {*MAY_IMPORT, "scripts", "tests"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_the_design_allows(room):
    for path in (ROOT / room).rglob("*.py"):
        forbidden = (imports(path) & ROOMS) - MAY_IMPORT[room] - {room}
        assert not forbidden, f"{path.relative_to(ROOT)} imports {forbidden}"


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_config_says_what_it_is_and_the_command_that_uses_it(path):
    first, second = path.read_text().splitlines()[:2]
    comment = second if first.startswith("# @package") else first
    assert comment.startswith("# ") and ("python " in comment or "make " in comment)


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/*.py")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= 400
