"""SPICE through pycocoevalcap's `spice-1.0.jar`, where its 400 MB of models have been installed.

pycocoevalcap downloads the models when its `Spice` is constructed, and waits for the network as long as that takes.
Here nothing is downloaded: what is missing is named, with the command that gets it.
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation.captions.cache import usable_folder
from evaluation.captions.java import JavaError, find_java, java_version, pycocoevalcap_folder, run_java

logger = logging.getLogger(__name__)

_MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
_INSTALL = 'python -c "from pycocoevalcap.spice.get_stanford_models import get_stanford_models as get; get()"'
_TIMEOUT_SECONDS = 3600


def spice_scores(
    references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, str], cache_dir: str | Path | None = None
) -> tuple[float, list[float]]:
    """Corpus SPICE (the mean F score) and one value an image, in the order of `hypotheses` (0 to 1; an image whose
    scene graphs are empty is NaN, as in pycocoevalcap), of PTB-tokenized captions.

    With `cache_dir`, parsed references are kept there, if it can be used. Raises JavaError when the models are missing
    or Java is too new.
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
        if cache_dir is not None and (parsed := usable_folder(Path(cache_dir).resolve() / "spice")):
            cache = ["-cache", str(parsed)]
        jar = str(folder / "spice-1.0.jar")
        options = ("-out", str(results), "-subset", "-silent")
        try:
            run_java("-Xmx8G", "-jar", jar, str(captions), *cache, *options, timeout_seconds=_TIMEOUT_SECONDS)
        except JavaError as error:
            if not cache:
                raise
            # Another evaluation may hold the cache's lock, or have left it damaged.
            logger.warning("SPICE with its cache %s: %s; once more without it", cache[1], error)
            run_java("-Xmx8G", "-jar", jar, str(captions), *options, timeout_seconds=_TIMEOUT_SECONDS)
        entries = json.loads(results.read_text(encoding="utf-8"))
        by_row = {entry["image_id"]: entry["scores"]["All"]["f"] for entry in entries}
    values = [_number(by_row[row]) for row in range(len(image_ids))]
    return sum(values) / len(values), values


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
