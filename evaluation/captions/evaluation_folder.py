"""An evaluation's folder: what it holds already, and what is written to it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.checks import checked_dataclass
from common.files import write_whole
from evaluation.captions.patch_selection import FILE as PATCHES
from evaluation.captions.prediction_files import read_predictions, write_predictions
from evaluation.captions.result import EvaluationResult
from evaluation.finished import Existing, finished_result

logger = logging.getLogger(__name__)


@checked_dataclass()
class EvaluationFolder:
    """A folder with `predictions.json`, `scores.json` and `per_image.json`.

    inputs: all that decides the result.
    existing: what to do with an evaluation that is there, see `finished_result`.
    """

    path: Path
    inputs: Mapping[str, Any]
    existing: Existing = "overwrite"

    def read(self) -> EvaluationResult | None:
        """The finished evaluation of these inputs; None where there is none, or it is to be overwritten.

        Raises ValueError when there is another one and `existing` is `check`.
        """
        return finished_result(self.path / "scores.json", EvaluationResult.from_json, self.inputs, self.existing)

    def say_reused(self, result: EvaluationResult) -> None:
        if self.existing == "check":
            where = f" on {result.device}" if result.device else ""
            print(f"Already evaluated{where}: {self.path} (again with overwrite=true)")

    def read_captions(self) -> tuple[dict[str, str], dict[str, list]]:
        """{image_id: caption}, and the metrics image by image. Raises OSError and ValueError where they are gone or
        damaged."""
        per_image = json.loads((self.path / "per_image.json").read_text(encoding="utf-8"))
        return read_predictions(self.path / "predictions.json"), per_image

    def write_predictions(self, predictions: Mapping[str, str]) -> None:
        """Write {image_id: caption} in COCO's results format; scores and patches of other predictions go."""
        self.path.mkdir(parents=True, exist_ok=True)
        for name in ("scores.json", PATCHES):
            (self.path / name).unlink(missing_ok=True)
        write_predictions(self.path / "predictions.json", predictions)

    def write(self, result: EvaluationResult) -> None:
        """`per_image.json`, the metrics image by image, for intervals and paired tests; `scores.json`, the result."""
        write_whole(self.path / "per_image.json", json.dumps(result.per_image))
        write_whole(self.path / "scores.json", json.dumps(result.to_json(), indent=2) + "\n")

    def finish(self, result: EvaluationResult) -> None:
        """Log the result's warnings, and write it."""
        for warning in result.warnings:
            logger.warning("%s", warning)
        self.write(result)
