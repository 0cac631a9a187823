"""Scoring captions: captions per second, ours against pycocoevalcap's own COCOEvalCap."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from omegaconf import DictConfig

from demo_world.captions import write_captions
from demo_world.scene import sample_scene
from evaluation.captions.java import find_java
from evaluation.captions.meteor import close_warm_meteors
from evaluation.captions.metrics import OF_PICTURES, score_captions
from scripts.benchmarks.timing import median_seconds, with_ratios

NAMES = {f"BLEU-{n}": f"Bleu_{n}" for n in range(1, 5)} | {"METEOR": "METEOR", "ROUGE-L": "ROUGE_L", "CIDEr": "CIDEr"}
ALIKE = 1e-9


def benchmark_scoring(config: DictConfig, repeats: int) -> list[dict]:
    """BLEU, METEOR, ROUGE-L and CIDEr of as many captions, each with five references, from the demo world's grammar.

    Neither side has SPICE, whose models are not part of a package. "with nouns" measures our noun metrics, too;
    "first" tokenizes the references, which are cached afterwards, and starts METEOR, which stays for the process's next
    evaluations.

    Raises:
        ValueError: the two sides' metrics differ.
    """
    captions, references = demo_captions(config.captions)
    metrics = [name for name in OF_PICTURES if name not in ("SPICE", "nouns")]
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        coco = coco_objects(captions, references)

        def ours(metrics: Sequence[str] = metrics, cache: Path | None = cache) -> Mapping[str, float | None]:
            return score_captions(captions, references, metrics, cache).corpus

        def first() -> None:
            close_warm_meteors()
            ours(cache=None)

        calls = {
            "first evaluation of a process": first,
            "further ones": ours,
            "further ones, with nouns": lambda: ours([*metrics, "nouns"]),
            "COCOEvalCap (reference)": lambda: coco_eval(*coco),
        }
        seconds = median_seconds(calls, repeats)
        theirs = coco_eval(*coco)
        for name, value in ours().items():
            if value is None or abs(value - theirs[NAMES[name]]) > ALIKE:
                raise ValueError(f"{name} is {value} here and {theirs[NAMES[name]]} by COCOEvalCap: not the same work")
    rows = [
        {
            "scoring": way,
            "captions": len(captions),
            "seconds": seconds[way],
            "captions per second": len(captions) / seconds[way],
        }
        for way in calls
    ]
    return with_ratios(rows, "captions per second")


def demo_captions(count: int) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Captions and five references each of made-up scenes; a caption is one more of the scene's or, every other time,
    of another scene, so that some are good and some are not."""
    random = np.random.default_rng(0)
    scenes = [sample_scene(random) for _ in range(count)]
    references = {str(number): write_captions(scene, random) for number, scene in enumerate(scenes)}
    captions = {
        str(number): write_captions(scenes[number if number % 2 else number - 1], random)[0] for number in range(count)
    }
    return captions, references


def coco_objects(captions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> tuple:
    """The references as pycocotools' COCO, and the captions as its results: what COCOEvalCap takes."""
    from pycocotools.coco import COCO

    annotations = [
        {"image_id": int(image_id), "caption": caption} for image_id, texts in references.items() for caption in texts
    ]
    coco: Any = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": int(image_id)} for image_id in references],
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        results = coco.loadRes(
            [{"image_id": int(image_id), "caption": caption} for image_id, caption in captions.items()]
        )
    return coco, results


def coco_eval(coco, results) -> dict[str, float]:
    """COCOEvalCap's metrics, from raw captions on, without SPICE."""
    from pycocoevalcap import eval as room

    class NoSpice:  # COCOEvalCap has no switch for it
        def compute_score(self, references, captions):
            return 0.0, [{}] * len(references)

        def method(self):
            return "SPICE"

    path = os.pathsep.join([str(Path(find_java()).parent), os.environ.get("PATH", "")])  # it calls plain `java`
    with (
        mock.patch.object(room, "Spice", NoSpice),
        mock.patch.dict(os.environ, {"PATH": path, "JAVA_TOOL_OPTIONS": "-Duser.language=en"}),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        evaluation = room.COCOEvalCap(coco, results)
        evaluation.evaluate()
    return evaluation.eval
