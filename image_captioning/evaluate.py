"""Evaluating a captioner on one split of a store: captions first, then scores and how well the gap is closed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignment.chain import Alignment, in_parts
from alignment.steps import Center
from common.config import drop_nulls
from common.device import choose_precision, computing_on
from common.files import write_whole
from embedding_space.encoders.identity import describe_encoder, is_same_encoder
from embedding_space.store import EmbeddingStore
from evaluation.captions.clip_score import ClipScoring
from evaluation.captions.extra_scores import with_text_figures
from evaluation.captions.metrics import METRICS
from evaluation.captions.prediction_files import write_predictions
from evaluation.captions.scoring import Scoring, check_metrics, left_out_figures, named, split_references
from evaluation.embeddings.retrieval import centroid_distance, image_to_text, paired_cosine
from image_captioning.captioner import Captioner, checkpoint_sha256
from image_captioning.evaluation_folder import earlier_figures, measure_inputs, write_scores
from image_captioning.generation import Decoding

logger = logging.getLogger(__name__)

INPUTS = ("images", "texts")
IMAGE_MEANS = ("checkpoint", "store")


def evaluate_captioner(
    captioner: Captioner,
    store: EmbeddingStore,
    split: str,
    output_dir: str | Path,
    decoding: Decoding | None = None,
    metrics: Iterable[str] = METRICS,
    caption_from: str = "images",
    batch_size: int = 256,
    cache_dir: str | Path | None = None,
    image_mean_from: str = "checkpoint",
    image_side: Mapping[str, Any] | None = None,
    alignment: Alignment | None = None,
    earlier: str = "replace",
    precision: str = "fp32",
    clip_score: ClipScoring | None = None,
    training_store: str | Path | None = None,
    image_store: EmbeddingStore | None = None,
) -> dict:
    """Caption every image of `split` that has captions to be scored against, and score what is written.

    Writes `predictions.json` (COCO results format), then `references.json`, then `scores.json`, the returned figures.
    Beside the metrics the figures tell how varied the captions are (`diversity`), how likely the captioner itself finds
    them (`log_likelihood`: nats a token; its own captions, so a high one means no more than certainty), how many stand
    in its training text (`training_text`), what is suspicious (`warnings`, which are logged, too), and which images
    have no captions (`left_out`).

    A split of several parts (NoCaps' domains) is scored whole and part by part, each with n-gram weights of its own
    references, as when it were the only one.

    Args:
        caption_from: `images`; or `texts`, an oracle without a gap: each image's caption is written from the embedding
            of its first reference, and scored against its other references.
        cache_dir: where tokenised references are kept.
        image_mean_from: the image mean that is subtracted: `checkpoint`, the captioner's, of the data set that it was
            trained on; or `store`, of this data set's own unpaired training images. Never of the images captioned.
        image_side: other values for options of the alignment's image side (`Alignment.with_image_side`).
        alignment: a chain in the place of the captioner's, with the same text side; the captioner's image mean stays.
        earlier: what becomes of scores in `output_dir`. `replace`: all is done again. Else those of the same files,
            embeddings and options are returned, after another try at metrics that failed, and those of others replaced
            (`renew`) or refused (`keep`).
        precision: of the decoder, as for `Captioner.caption_images`.
        metrics: names from `evaluation.captions.scoring.MEASURES`.
        clip_score: how CLIPScore, if it is among the metrics, is measured; by default by this store's encoder.
        training_store: where the captioner's training text is, if it is not in `store`.
        image_store: where the images' embeddings are, if another encoder made them: another view of the same data set,
            for a chain that translates.

    Raises:
        ValueError: a store was made by another encoder than the captioner's, or has other dimensions, or the two are of
            different data sets; or there is no image mean although `image_mean_from` is `store`; or the image side is
            refused, or the folder; or `training_store` is not what the captioner was trained on; or no image of the
            split has captions.
        FileNotFoundError: no store where `clip_score` or `training_store` says.
    """
    if image_mean_from not in IMAGE_MEANS:
        raise ValueError(f"image_mean_from={image_mean_from!r} must be one of {', '.join(IMAGE_MEANS)}")
    if caption_from not in INPUTS:
        raise ValueError(f"caption_from={caption_from!r} must be one of {', '.join(INPUTS)}")
    image_store = image_store or store
    check_encoder(captioner, store, image_store, alignment)
    check_metrics(metrics)
    clip_score = clip_score or ClipScoring()
    clip_store = EmbeddingStore(clip_score.store) if clip_score.store else store
    if clip_store.manifest.tables_hash != store.manifest.tables_hash:
        raise ValueError(
            f"clip_score.store={clip_store.path} was made from other tables than {store.path}: it has to hold the same "
            "images and captions"
        )
    references, left_out = split_references(store, split)
    if caption_from == "texts":
        _check_read_texts(references)
        references = {image_id: captions[1:] for image_id, captions in references.items()}
    parts = {part: store.image_ids(part) for part in store.tables.parts(split)}
    scoring = Scoring(tuple(metrics), cache_dir, clip_score, clip_store, split, parts)
    output_dir, decoding, image_side = Path(output_dir), decoding or Decoding(), drop_nulls(image_side or {})
    inputs = {
        "checkpoint": captioner.folder and checkpoint_sha256(captioner.folder),
        "store": store.hash,
        **({"image_store": image_store.hash} if image_store.hash != store.hash else {}),
        "split": split,
        "caption_from": caption_from,
        "image_mean_from": image_mean_from,
        "alignment": alignment and alignment.hash,
        "image_side": image_side,
        "decoding": {name: value for name, value in asdict(decoding).items() if value is not None},
        "precision": precision,
        **measure_inputs(scoring),
        "training_store": training_store and str(training_store),
    }
    if figures := earlier_figures(output_dir, inputs, earlier, scoring, references):
        return figures
    chain = _image_chain(captioner, alignment, image_side)
    training = _training_text(captioner, store, training_store)
    output_dir.mkdir(parents=True, exist_ok=True)
    image_ids = list(references)
    images, texts, image_row = _described_rows(image_store, store, split, set(image_ids))
    mean, mean_origin = _image_mean(captioner, chain, store, image_mean_from)
    chain = chain if mean is None else chain.with_image_mean(mean)
    (output_dir / "scores.json").unlink(missing_ok=True)  # those of other predictions
    started = time.perf_counter()
    aligned = in_parts(chain.inference_side, images, captioner.device, batch_size)
    reads_texts = caption_from == "texts"
    read = captioner.align_texts(texts[_first_rows(image_row, len(image_ids))], batch_size) if reads_texts else aligned
    reranker = captioner.reranker(images) if decoding.clip_weight else None
    captions = captioner.caption(read, decoding, batch_size, precision=precision, reranker=reranker)
    seconds = time.perf_counter() - started
    predictions = dict(zip(image_ids, captions, strict=True))
    write_predictions(output_dir / "predictions.json", predictions)
    write_whole(output_dir / "references.json", json.dumps(references, ensure_ascii=False, indent=0))
    targets = in_parts(captioner.alignment.clean_side, texts, captioner.device)
    likelihoods, tokens = captioner.log_likelihoods(read, captions, batch_size)
    scores, measured = scoring.measure(predictions, references)
    write_scores(output_dir, {"unfinished": True, **scores.to_dict()}, scores)  # whatever may stop what follows
    scores, sections = with_text_figures(scores, predictions, references, *training)
    sections |= measured
    if "init_from" in captioner.provenance:
        sections["training_text"]["not_compared"] = captioner.provenance["init_from"]  # it read that text before
    if facts := sections.get("clip_score"):
        facts["training_encoder"] = is_same_encoder(facts["encoder"], captioner.encoder_description)
    scores.per_image["log-likelihood"] = (likelihoods / tokens).numpy()
    figures = {
        **captioner.provenance,
        "checkpoint": captioner.folder and str(captioner.folder),
        "split": split,
        "caption_from": caption_from,
        "decoding": inputs["decoding"],
        **scores.to_dict(),
        **left_out_figures(left_out),
        **sections,
        "log_likelihood": {"per_token": (likelihoods.sum() / tokens.sum()).item(), "tokens": int(tokens.sum())},
        "gap": gap_figures(aligned, targets, image_row),
        "evaluated_on": {"dataset": store.path.parent.name, "store_hash": store.hash},
        "image_mean": mean_origin,
        "precision": choose_precision(precision, captioner.device),
        "device": computing_on(captioner.device, choose_precision(precision, captioner.device)),
        "seconds": {"captioning": seconds, "scoring": scores.seconds},
        "inputs": inputs,
    }
    if alignment is not None:
        figures["image_alignment"] = alignment.options()
        figures["uses_pairs"] = figures.get("uses_pairs", False) or alignment.uses_pairs
    for warning in figures["warnings"]:
        logger.warning("%s", warning)
    write_scores(output_dir, figures, scores)
    return figures


def _training_text(
    captioner: Captioner, store: EmbeddingStore, training_store: str | Path | None
) -> tuple[tuple[EmbeddingStore, str] | None, str]:
    """Where the text that the captioner was trained on is, or None and why that is not known."""
    trained_on, known = captioner.provenance, store if training_store is None else EmbeddingStore(training_store)
    if trained_on.get("store_hash") != known.hash:
        reason = (
            f"the captioner was trained on another store ({trained_on.get('dataset')}, hash "
            f"{str(trained_on.get('store_hash'))[:12]}) than {known.path} (hash {known.hash[:12]})"
        )
        if training_store is not None:
            raise ValueError(f"training_store={training_store}: {reason}")
        return None, f"{reason}: name it with training_store=..."
    split = trained_on.get("train_split") or (known.text_split if trained_on.get("train_on") == "text" else None)
    if split is None:
        return None, "the captioner's checkpoint does not say which split it was trained on: train it again"
    return (known, split), ""


def _image_mean(
    captioner: Captioner, chain: Alignment, store: EmbeddingStore, origin: str
) -> tuple[Tensor | None, dict]:
    """The mean that takes the place of the captioner's own, None to leave that, and where what is used comes from."""
    if origin == "store":
        known = {"dataset": store.path.parent.name, "split": store.manifest.image_mean_split}
        return store.mean("image"), {"from": origin, **known, "store_hash": store.hash}
    if not chain.centers_images:
        return None, {"from": None}
    known = {"dataset": captioner.provenance.get("dataset"), "split": captioner.provenance.get("image_mean_split")}
    return None, {"from": origin, **known, "store_hash": captioner.provenance.get("store_hash")}


def _image_chain(captioner: Captioner, alignment: Alignment | None, image_side: Mapping[str, Any]) -> Alignment:
    """What the images to caption go through; refused unless the captioner's decoder was trained on its text side."""
    chain = captioner.alignment
    if alignment is not None:
        chain.check_training_side(alignment, captioner.dim)
        own_mean = next((step.image_mean for step in chain.steps if type(step) is Center), None)
        chain = alignment.with_image_mean(own_mean) if own_mean is not None and alignment.centers_images else alignment
    return chain.with_inference_options(image_side).to(captioner.device)


def gap_figures(aligned: Tensor, targets: Tensor, image_row: Tensor) -> dict[str, float]:
    """How near aligned images (N, D) come to their own aligned texts (M, D); texts take the text side without diffusion
    or noise, so that all methods are held to the same target."""
    found = image_to_text(aligned, targets, image_row)
    return {
        "paired_cosine": paired_cosine(aligned, targets, image_row),
        "centroid_distance": centroid_distance(aligned, targets),
        "image_to_text_recall_at_1": found.recall_at_1,
        "image_to_text_recall_at_10": found.recall_at_10,
    }


def check_references(store: EmbeddingStore, split: str, read_first: bool = False) -> list[str]:
    """The ids of the split's images that will be left out, as they have no captions.

    read_first: whether the first caption of each image is read (`caption_from=texts`), so that two are needed.

    Raises ValueError when the split cannot be evaluated: there is no such split, or none of its images has captions.
    """
    references, left_out = split_references(store, split)
    if read_first:
        _check_read_texts(references)
    return left_out


def _check_read_texts(references: Mapping[str, list[str]]) -> None:
    if lonely := [image_id for image_id, captions in references.items() if len(captions) < 2]:
        raise ValueError(
            f"{named(lonely)} with fewer than two captions: an oracle that reads texts (caption_from=texts, "
            "oracle_text) needs one to read and one to score against"
        )


def _described_rows(
    image_store: EmbeddingStore, store: EmbeddingStore, split: str, described: set[str]
) -> tuple[Tensor, Tensor, Tensor]:
    """Image rows (N, D) of the images that have captions, text rows (M, D) of the split, and each text's image (M,)."""
    rows = torch.tensor([row for row, image_id in enumerate(store.image_ids(split)) if image_id in described])
    place = torch.full((int(rows.max()) + 1,), -1)
    place[rows] = torch.arange(len(rows))
    return image_store.images(split)[rows], store.texts(split), place[torch.from_numpy(store.pairs(split))]


def _first_rows(image_row: Tensor, images: int) -> Tensor:
    """(N,) the first caption's row of each image."""
    first = torch.full((images,), len(image_row))
    return first.scatter_reduce(0, image_row, torch.arange(len(image_row)), reduce="amin")


def check_encoder(
    captioner: Captioner,
    store: EmbeddingStore,
    image_store: EmbeddingStore | None = None,
    alignment: Alignment | None = None,
) -> None:
    """Raises ValueError when the captioner reads embeddings of another encoder, or of other dimensions, be it with
    another alignment; its images may come from another view of the same data set."""
    image_store, chain = image_store or store, alignment or captioner.alignment
    if image_store.manifest.tables_hash != store.manifest.tables_hash:
        raise ValueError(f"image_store={image_store.path} and store={store.path} are of different data sets")
    translates = chain.inference_dim is not None
    for encoder, dim, rows, modality in (
        (captioner.encoder_description, captioner.dim, store, "texts"),
        (
            chain.inference_encoder or captioner.encoder_description,
            chain.inference_dim or captioner.dim,
            image_store,
            "images",
        ),
    ):
        theirs = rows.manifest.encoder
        found = rows.dim_of(modality) if translates else rows.dim
        if dim != found or not is_same_encoder(encoder, theirs):
            raise ValueError(
                f"The captioner reads {modality} of {describe_encoder(encoder)} with {dim} dimensions, but {rows.path} "
                f"holds those of {describe_encoder(theirs)} with {found}: choose the store of the same encoder with "
                "encoder=..., or store=..."
            )


def same_encoder(store: EmbeddingStore, other: EmbeddingStore) -> bool:
    """Whether a captioner trained on one store can read the other's embeddings."""
    return store.dim == other.dim and is_same_encoder(store.manifest.encoder, other.manifest.encoder)
