"""Scoring generated pictures, with the demo world's detector where the pictures are of that world."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.device import best_device
from common.files import file_sha256, write_json, write_whole
from common.paths import find_local_folder
from demo_world.detector import SHIPPED, Detector
from demo_world.object_recall import OBJECT_METRICS, judge_captions
from evaluation.finished import Existing, finished_result
from evaluation.pictures.caption_judge import Judgments
from evaluation.pictures.result import GenerationResult
from evaluation.pictures.scorer import PictureScorer


class DemoJudge:
    """The demo world's detector as a `CaptionJudge`.

    Raises as `Detector.load`.
    """

    names: Sequence[str] = OBJECT_METRICS

    def __init__(self, folder: str | Path = SHIPPED):
        self.detector = Detector.load(folder).to(best_device())
        weights = find_local_folder(folder) / "model.safetensors"
        self.description: dict[str, Any] = {"name": Path(folder).name, "sha256": file_sha256(weights)}

    def judge(self, paths: Sequence[Path], sentences: Sequence[str]) -> Judgments:
        sights = self.detector.look_at_files(paths)
        judged = judge_captions(sights, self.detector.threshold.item(), sentences)
        warnings = []
        if judged.unknown:
            warnings.append(
                f"{len(judged.unknown):,} of {len(sentences):,} sentences are none that the demo world writes, and the "
                f"detector's metrics leave their pictures out; the first: {judged.unknown[0]!r}"
            )
        return Judgments(judged.values, warnings)


def scored(scorer: PictureScorer, output_dir: str | Path, existing: Existing = "overwrite") -> GenerationResult:
    """Score; `output_dir` then holds `scores.json`, the result, and `per_picture.json`, the metrics picture by picture.

    Args:
        existing: what to do with an evaluation that is there, see `finished_result`.

    Raises as `PictureScorer.score` and `finished_result`.
    """
    folder = Path(output_dir)
    before = finished_result(folder / "scores.json", GenerationResult.from_json, _as_json(scorer.inputs()), existing)
    if before is not None:
        print(f"Already evaluated: {folder} (again with overwrite=true)")
        return before
    result = scorer.score()
    write_whole(folder / "per_picture.json", json.dumps(result.per_picture))
    write_json(folder / "scores.json", result.to_json(), ensure_ascii=False)
    return result


def _as_json(inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs as a file gives them back: tuples are lists there."""
    return json.loads(json.dumps(inputs))
