"""A tiny demo world whose text half has no pictures yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config import compose_config


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """The root of a tiny demo world: 12 scenes of text, 4, 3 and 3 with pictures."""
    pytest.importorskip("resvg_py")
    from demo_world.world import write_demo_world

    root = tmp_path_factory.mktemp("source") / "demo"
    write_demo_world(root, pretrain=4, train=12, val=3, test=3, progress=False)
    return root


@pytest.fixture
def painting_config(tmp_path):
    """A factory of configs of `synthesize_images` for a data set; the new one is beside it."""

    def configure(root: Path, *overrides: str):
        return compose_config(
            "synthesize_images", f"dataset.root={root}", f"output_dir={tmp_path / 'outputs'}", *overrides
        )

    return configure
