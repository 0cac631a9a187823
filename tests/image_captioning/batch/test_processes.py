"""Several processes of torchrun caption into one file, that of a single process."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile

import pytest
from PIL import Image

from common.paths import ROOT

PROGRAM = """
from image_captioning.batch import parts
from scripts.caption import main

parts.PART_ROWS = 2
main()
"""


@pytest.mark.slow
def test_two_processes_make_the_file_of_one(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for number in range(7):
            content = io.BytesIO()
            Image.new("RGB", (60, 40), (30 * number, 200 - 20 * number, 90)).save(content, "PNG")
            member = tarfile.TarInfo(f"{number:03d}.png")
            member.size = 100 if number == 3 else len(content.getvalue())  # one is cut off
            content.seek(0)
            tar.addfile(member, content)
    (tmp_path / "program.py").write_text(PROGRAM)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name, launch in (("one", []), ("two", torchrun)):
        words = ["program.py", "s.tar", "checkpoint=photos", f"output_dir={tmp_path / name}"]
        done = subprocess.run(
            [sys.executable, *launch, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert "6 pictures captioned (" in done.stdout
    one, two = tmp_path / "one", tmp_path / "two"
    assert (one / "captions.jsonl").read_bytes() == (two / "captions.jsonl").read_bytes()
    assert (one / "problems.jsonl").read_bytes() == (two / "problems.jsonl").read_bytes()
    assert [json.loads((folder / "run.json").read_text())["processes"] for folder in (one, two)] == [1, 2]
