"""The pictures of a comparison with each method's caption and score: their choice and order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np

from embedding_space.store import EmbeddingStore
from embedding_space.videos import FRAMES
from evaluation.captions.patch_selection import FILE as PATCHES
from evaluation.captions.patch_selection import read_selections
from evaluation.captions.prediction_files import read_predictions
from evaluation.reports.example import Example
from evaluation.reports.method_result import MethodResult
from evaluation.reports.statistics import read_per_image


def gallery_examples(
    runs: Sequence[MethodResult], store: EmbeddingStore, split: str, count: int, decoding: str | None = None
) -> list[Example]:
    """At most `count` pictures of `split` with references and each method's caption and CIDEr, in the split's order.

    Captions, scores and patches given to words are of the first seed. Half of the pictures are evenly spaced; in the
    others the CIDEr of two methods differs most, for every two methods in turn. Methods that caption texts are left
    out.

    Args:
        decoding: of the captions, by default the first.

    Raises:
        ValueError: no run has this decoding.
    """
    decoding = decoding or runs[0].decoding_name
    shown = [run for run in runs if (run.seed, run.decoding_name) == (runs[0].seed, decoding)]
    if not shown:
        known = ", ".join(dict.fromkeys(run.decoding_name for run in runs))
        raise ValueError(f"shown_decoding={decoding} is not among the comparison's: {known}")
    folders = {run.method: Path(str(run.evaluation)) for run in shown if run.result.caption_from == "images"}
    selected = {method: read_selections(folder / PATCHES) for method, folder in folders.items()}
    captions = {method: read_predictions(folder / "predictions.json") for method, folder in folders.items()}
    scored = {method: read_per_image(folder, "CIDEr") for method, folder in folders.items()}
    by_id = {method: dict(zip(s[0], 100 * s[1], strict=True)) for method, s in scored.items() if s is not None}
    references = store.tables.references(split)
    paths = dict(zip(references, store.tables.image_paths(store.tables.image_rows(split)), strict=True))
    image_ids = [image_id for image_id in references if references[image_id]]  # the others were not scored
    scores = np.array([[by_id[method][image_id] for image_id in image_ids] for method in by_id])
    return [
        Example(
            paths[image_ids[row]],
            image_ids[row],
            references[image_ids[row]],
            {method: texts[image_ids[row]] for method, texts in captions.items()},
            {method: float(values[image_ids[row]]) for method, values in by_id.items()},
            {method: of[image_ids[row]] for method, of in selected.items() if image_ids[row] in of},
            store.manifest.medium,
            store.manifest.encoder.get("frames", FRAMES),
        )
        for row in chosen_rows(scores, len(image_ids), count)
    ]


def chosen_rows(scores: np.ndarray, images: int, count: int) -> list[int]:
    """Increasing numbers of at most `count` images: half evenly spaced, half with the largest differences.

    Args:
        scores: (methods, images); differences are between two methods, for every ordered pair in turn.
        images: how many there are.
    """
    spaced = count if len(scores) < 2 else (count + 1) // 2
    chosen = dict.fromkeys(np.linspace(0, images - 1, min(spaced, images)).round().astype(int).tolist())
    if len(scores) > 1 and count:
        pairs = np.array(list(permutations(range(len(scores)), 2)))
        most = np.argsort(scores[pairs[:, 1]] - scores[pairs[:, 0]], axis=1, kind="stable")[:, :count]
        for row in most.T.ravel().tolist():
            if len(chosen) >= min(count, images):
                break
            chosen[row] = None
    return sorted(chosen)


def sorting(examples: Sequence[Example], second: str | None) -> dict | None:
    """The initial values of the form that sorts pictures by the difference of two methods.

    Args:
        second: by default the first method that is not the `first`, which has the highest mean score.

    Returns:
        All `methods`, the `first` and the `second`; None unless all examples have scores of the same methods, at least
        two.
    """
    methods = list(examples[0].scores) if examples else []
    if len(methods) < 2 or any(not list(e.captions) == list(e.scores) == methods for e in examples):
        return None
    first = max(methods, key=lambda method: sum(example.scores[method] for example in examples))
    if second not in methods or second == first:
        second = next(method for method in methods if method != first)
    return {"methods": methods, "first": first, "second": second}


def patch_layers(examples: Sequence[Example]) -> list[list[str]]:
    """The methods that give patches to words; those whose patches are the same in all pictures share a layer."""
    layers: list[list[str]] = []
    for method in dict.fromkeys(method for example in examples for method in example.patches):
        for layer in layers:
            if all(example.patches.get(method) == example.patches.get(layer[0]) for example in examples):
                layer.append(method)
                break
        else:
            layers.append([method])
    return layers
