"""Every command that the documentation shows exists, and takes the options that it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from common.config import compose_config, stage_experiments

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md", *ROOT.glob("docs/*.md")])
START = re.compile(r"(?:\.venv/bin/)?(?:python|torchrun .*?)(?: -m)? (scripts/\w+\.py|\w+\.train)\b")
BEFORE = "## What commands were called before"


def commands() -> list[tuple[str, str]]:
    """(page, command) of all indented lines and code in tables that run a command; continued lines are joined."""
    found = []
    for page in PAGES:
        text = page.read_text().partition(BEFORE)[0].replace("\\\n", " ")
        for line in re.findall(r"^    (.+)$|`(python [^`]+)`", text, re.MULTILINE):
            for part in re.split(r" && |  +# ", "".join(line)):
                if START.match(part.strip()) and not re.search(r"\.\.\.|[<>]", part):  # no placeholders
                    found.append((page.relative_to(ROOT).as_posix(), part.strip()))
    return list(dict.fromkeys(found))


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_documented_command_takes_its_options(page, command):
    words = shlex.split(command, comments=True)
    [what] = [match for word in words if (match := re.fullmatch(r"scripts/(\w+)\.py|(\w+)\.train", word))]
    file = ROOT / what[0] if what[1] else ROOT / what[2] / "train.py"
    assert file.is_file()
    options = [word for word in words if "=" in word and re.match(r"[+~]?[\w.@]+=", word)]
    if "-m" in words[words.index(what[0]) + 1 :]:  # a sweep: any of its values
        options = [re.sub(r"=([^\[{]*?),.*", r"=\1", option) for option in options]
    stage = what[1] or what[2]
    compose_config(stage, *stage_experiments(stage, options))
