"""A missing library is named with the command that installs it."""

from __future__ import annotations

import pytest

from common.extras import explain_missing


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("matplotlib.axes", r'^matplotlib is not installed: pip install -e "\.\[report\]"$'),
        ("torch", r"^torch is not installed: pip install -e \.$"),
    ],
)
def test_the_command_installs_the_extra(module, message):
    with pytest.raises(ImportError, match=message):
        raise explain_missing(ModuleNotFoundError(f"No module named {module!r}", name=module))
