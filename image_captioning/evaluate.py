"""Evaluating a captioner: align once, caption, score what is written, and see how well the gap is closed."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from alignment.chain import in_parts
from common.device import choose_precision, computing_on
from common.files import write_whole
from evaluation.captions.evaluation_folder import EvaluationFolder, Existing
from evaluation.captions.patch_selection import FILE as PATCHES
from evaluation.captions.patch_selection import write_selections
from evaluation.captions.result import EvaluatedOn, EvaluationResult, Likelihood, Seconds
from evaluation.captions.score_split import split_scorer
from evaluation.captions.scoring_options import Scoring
from evaluation.embeddings.retrieval import remaining_gap
from image_captioning.captioning_model import CaptioningModel
from image_captioning.generation import Decoding
from image_captioning.inference_inputs import InferenceInputs, check_encoder, first_texts
from image_captioning.memory_captions import consensus_memory, memory_identity


def evaluate_captioner(
    captioner: CaptioningModel,
    inputs: InferenceInputs,
    output_dir: str | Path,
    decoding: Decoding | None = None,
    scoring: Scoring | None = None,
    existing: Existing = "overwrite",
) -> EvaluationResult:
    """Caption the images of a split that have captions to score against, and score what is written.

    `output_dir` then holds `references.json` and what `EvaluationFolder` says, predictions before scores; also
    `patches.json`, of a captioner that gives patches to words. The result has, beside the metrics: how varied the
    captions are (`diversity`), how likely the captioner finds them (`log_likelihood`), how many are in its training
    text (`training_text`), how far the aligned images are from their texts (`gap`), what is suspicious (`warnings`,
    which are logged, too), and which images have no captions (`left_out`). A split of several parts (NoCaps' domains)
    is scored whole and part by part.

    Args:
        existing: what to do with results in `output_dir`, see `EvaluationFolder`. Metrics that failed are tried again.

    Raises:
        ValueError: a store was made by another encoder than the captioner's, or has other dimensions, or they are of
            different data sets; there is no image mean although `image_mean_from` is `store`; the inference side is
            refused, or the folder; `training_store` is not what the captioner was trained on; no image of the split
            has captions.
        FileNotFoundError: no store where `scoring.clip_score` or `training_store` says.
    """
    decoding, scoring = decoding or Decoding(), scoring or Scoring()
    check_encoder(captioner, inputs.store, inputs.image_store, inputs.alignment)
    references = inputs.references()
    scorer = split_scorer(inputs.store, inputs.split, scoring, references, inputs.training_source(captioner))
    memory = consensus_memory(captioner, scorer.training)
    if decoding.consensus_weight and memory is None:
        raise ValueError(
            f"decoding.consensus_weight={decoding.consensus_weight} reads the captions that the captioner was trained "
            f"on, but {scorer.training.unavailable}"
        )
    decoded = decoding.recorded()
    recorded = {**inputs.recorded(captioner), "decoding": decoded, **scoring.inputs()}
    if decoding.consensus_weight:
        recorded["consensus"] = memory_identity(captioner, scorer.training)
    folder = EvaluationFolder(Path(output_dir), recorded, existing)
    if reused := scorer.reuse(folder):
        return reused

    chain, image_mean = inputs.image_chain(captioner)
    rows, images, texts, image_row = inputs.rows(list(references.captions))
    batch_size, reads_texts = inputs.batch_size, inputs.caption_from == "texts"
    started = time.perf_counter()
    aligned = in_parts(chain.inference_side, images, captioner.device, batch_size)
    if reads_texts:
        read = captioner.align_texts(texts[first_texts(image_row, len(images))], batch_size)
    else:
        read = captioner.image_inputs(aligned, images, inputs.images_from, inputs.split, rows)
    reranker = captioner.reranker(images, decoding, memory=memory, chain=chain)
    captions = captioner.caption(read, decoding, batch_size, precision=inputs.precision, reranker=reranker)
    seconds = time.perf_counter() - started

    write_whole(folder.path / "references.json", json.dumps(references.captions, ensure_ascii=False, indent=0))
    result = scorer.score(dict(zip(references.captions, captions, strict=True)), folder)
    if (selections := captioner.patch_selections(read)) is not None:
        write_selections(folder.path / PATCHES, dict(zip(references.captions, selections, strict=True)))
    likelihoods, tokens = captioner.log_likelihoods(read, captions, batch_size)
    targets = in_parts(captioner.alignment.clean_side, texts, captioner.device)
    precision = choose_precision(inputs.precision, captioner.device)
    uses_pairs = captioner.provenance.get("uses_pairs")
    if inputs.alignment is not None:
        uses_pairs = uses_pairs or inputs.alignment.uses_pairs
    result = replace(
        result,
        checkpoint=captioner.folder and str(captioner.folder),
        split=inputs.split,
        caption_from=inputs.caption_from,
        decoding=decoded,
        log_likelihood=Likelihood((likelihoods.sum() / tokens.sum()).item(), int(tokens.sum())),
        gap=remaining_gap(aligned, targets, image_row),
        evaluated_on=EvaluatedOn(inputs.store.path.parent.name, inputs.store.hash),
        image_mean=image_mean,
        precision=precision,
        device=computing_on(captioner.device, precision),
        seconds=Seconds(result.seconds and result.seconds.scoring, seconds),
        inputs=recorded,
        image_alignment=inputs.alignment and inputs.alignment.options(),
        uses_pairs=uses_pairs,
        provenance=captioner.provenance,
        per_image=result.per_image | {"log-likelihood": (likelihoods / tokens).tolist()},
    )
    folder.finish(result)
    return result
