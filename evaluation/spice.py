"""SPICE through pycocoevalcap's `spice-1.0.jar`, where its 400 MB of models have been installed.

pycocoevalcap downloads the models when its `Spice` is constructed, and waits for the network as long as that takes.
Here nothing is downloaded: what is missing is named, with the command that gets it.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation.java import JavaError, find_java, java_version, pycocoevalcap_folder, run_java

_MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
_INSTALL = 'python -c "from pycocoevalcap.spice.get_stanford_models import get_stanford_models as get; get()"'
_TIMEOUT_SECONDS = 3600


def spice_scores(
    references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, str], cache_dir: str | Path | None = None
) -> tuple[float, list[float]]:
    """Corpus SPICE (the mean F score) and one value an image, in the order of `hypotheses` (0 to 1; an image whose
    scene graphs are empty is NaN, as in pycocoevalcap), of PTB-tokenised captions.

    With `cache_dir`, parsed references are kept there. Raises JavaError when the models are missing or Java is too new.
    """
    folder = pycocoevalcap_folder() / "spice"
    if not all((folder / "lib" / name).is_file() for name in _MODELS):
        raise JavaError(f"the SPICE models are not installed; to download them (400 MB), run {_INSTALL}")
    version = java_version(find_java())
    if version >= 16:
        raise JavaError(f"SPICE does not run on Java 16 or newer (found {version}): put Java 8 or 11 first on PATH")

    image_ids = list(hypotheses)
    with tempfile.TemporaryDirectory() as scratch:
        captions, results = Path(scratch) / "captions.json", Path(scratch) / "scores.json"
        entries = [
            {"image_id": row, "test": hypotheses[image_id], "refs": list(references[image_id])}
            for row, image_id in enumerate(image_ids)
        ]
        captions.write_text(json.dumps(entries), encoding="utf-8")
        cache: list[str] = []
        if cache_dir is not None:
            parsed = Path(cache_dir).resolve() / "spice"
            parsed.mkdir(parents=True, exist_ok=True)
            cache = ["-cache", str(parsed)]
        jar = str(folder / "spice-1.0.jar")
        arguments = ("-Xmx8G", "-jar", jar, str(captions), *cache, "-out", str(results), "-subset", "-silent")
        run_java(*arguments, timeout_seconds=_TIMEOUT_SECONDS)
        by_row = {entry["image_id"]: entry["scores"]["All"]["f"] for entry in json.loads(results.read_text())}
    values = [_number(by_row[row]) for row in range(len(image_ids))]
    return sum(values) / len(values), values


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
