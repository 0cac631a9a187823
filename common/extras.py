"""What to install for a library that is an extra of pyproject.toml."""

from __future__ import annotations

EXTRAS = {"jinja2": "report", "matplotlib": "report", "pandas": "report"}


def explain_missing(error: ModuleNotFoundError) -> ImportError:
    """The error of a missing module, with the command that installs it."""
    name = (error.name or "").partition(".")[0]
    target = f'-e ".[{EXTRAS[name]}]"' if name in EXTRAS else "-e ."
    return ImportError(f"{name or error} is not installed: pip install {target}")
