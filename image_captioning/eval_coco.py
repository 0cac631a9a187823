"""Score captions: of a captioner on a data set's split, or from a file.

The work behind `scripts/eval_coco.py`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from accelerate import Accelerator
from omegaconf import DictConfig, OmegaConf

import image_captioning.run_names  # noqa: F401, registers ${run_name:...}
from alignment.chain import Alignment
from alignment.options import expand_steps
from common.config import compose_config
from embedding_space.store import EmbeddingStore
from evaluation.captions.clip_score import ClipScoring
from evaluation.captions.extra_scores import with_text_figures
from evaluation.captions.prediction_files import read_predictions, write_predictions
from evaluation.captions.references import read_reference_file
from evaluation.captions.scoring import CLIP_SCORE, Scoring, check_metrics, left_out_figures, named, with_words
from evaluation.table import Table
from image_captioning.alignments import STEPS
from image_captioning.captioner import Captioner
from image_captioning.evaluate import evaluate_captioner
from image_captioning.evaluation_folder import earlier_figures, measure_inputs, write_scores
from image_captioning.generation import Decoding
from modality_translation.step import ModalityTranslation, check_encoder
from modality_translation.translation import load_translation
from training.tracking import Tracker, start_tracker

logger = logging.getLogger(__name__)


def evaluate(config: DictConfig) -> dict:
    """Evaluate as `configs/eval_coco.yaml` says, print the table and return what `scores.json` holds."""
    output_dir = Path(config.output_dir)
    if (config.predictions is None) != (config.references is None):
        raise ValueError("predictions= and references= go together: give both files, or neither and a checkpoint=")
    if config.predictions is None and config.checkpoint is None:
        raise ValueError("There is nothing to score: give checkpoint=, or predictions= and references=")
    figures = _score_file(config, output_dir) if config.predictions else _score_captioner(config, output_dir)
    OmegaConf.save(config, output_dir / "config.yaml", resolve=True)
    print(_table(figures).text())
    if "left_out" in figures:
        print(f"Left out, for there are no captions to score against: {named(figures['left_out']['image_ids'])}")
    print(f"Predictions and scores: {output_dir}")
    _track(config, figures, output_dir)
    return figures


def _score_captioner(config: DictConfig, output_dir: Path) -> dict:
    captioner = Captioner.load(config.checkpoint)
    alignment = None
    if "alignment" in config:
        entries = expand_steps(config.alignment, STEPS)
        alignment = Alignment.from_store(entries, STEPS, EmbeddingStore(config.alignment_store))
    if config.translation is not None:
        if alignment is not None:
            raise ValueError(
                f"alignment={config.alignment.name} and translation={config.translation}: give one of them"
            )
        translation = load_translation(config.translation)
        check_encoder(
            translation,
            "texts",
            captioner.encoder_description,
            f"the captioner {config.checkpoint}",
            config.translation,
        )
        alignment = Alignment(captioner.alignment.steps, ModalityTranslation.of(translation))
    return evaluate_captioner(
        captioner,
        EmbeddingStore(config.store),
        config.split,
        output_dir,
        Decoding(**config.decoding),
        list(config.metrics),
        config.caption_from,
        config.batch_size,
        config.cache_dir,
        config.image_mean_from,
        clip_score=_clip_scoring(config),
        training_store=config.training_store,
        image_side=config.image_side,
        alignment=alignment,
        earlier="replace" if config.overwrite else "keep",
        precision=config.precision,
        image_store=EmbeddingStore(config.image_store),
    )


def _clip_scoring(config: DictConfig) -> ClipScoring:
    options = OmegaConf.to_container(config.clip_score, resolve=True)
    encoder = options.pop("encoder")
    if encoder is not None:
        if options["store"] is not None:
            raise ValueError(f"clip_score.encoder={encoder} and clip_score.store={options['store']}: give one of them")
        options["store"] = f"{config.dataset.root}/{compose_config('eval_coco', f'encoder={encoder}').encoder.name}"
    return ClipScoring(**options)


def _score_file(config: DictConfig, output_dir: Path) -> dict:
    predictions = read_predictions(config.predictions)
    file = read_reference_file(config.references, config.references_split, predictions)
    references, blank = with_words(file.captions, str(config.references))
    left_out = [image_id for image_id in (*file.uncaptioned, *blank) if image_id in predictions]
    predictions = {image_id: caption for image_id, caption in predictions.items() if image_id not in set(left_out)}
    check_metrics(config.metrics)
    clip_score, training = _clip_scoring(config), None
    judge = EmbeddingStore(clip_score.store) if clip_score.store and CLIP_SCORE in config.metrics else None
    if config.training_store:
        training = (store := EmbeddingStore(config.training_store)), store.text_split
    scoring = Scoring(tuple(config.metrics), config.cache_dir, clip_score, judge, config.split, file.parts)
    inputs = {
        "predictions": _content_hash(predictions),
        "references": _content_hash([references, file.parts]),
        **({"allow_missing": True} if config.allow_missing else {}),
        **measure_inputs(scoring),
        **({"clip_store": judge.hash, "split": config.split} if judge else {}),
        "training_store": training and training[0].hash,
    }
    earlier = "replace" if config.overwrite else "keep"
    if figures := earlier_figures(output_dir, inputs, earlier, scoring, references):
        return figures
    write_predictions(output_dir / "predictions.json", predictions)
    scores, measured = scoring.measure(predictions, references, config.allow_missing)
    write_scores(output_dir, {"unfinished": True, **scores.to_dict()}, scores)  # whatever may stop what follows
    unknown = "name the store of the text that the captioner was trained on with training_store=..."
    scores, sections = with_text_figures(scores, predictions, references, training, unknown)
    figures = {
        "predictions": str(config.predictions),
        "references": str(config.references),
        **scores.to_dict(),
        **left_out_figures(left_out),
        **sections,
        **measured,
        "seconds": {"scoring": scores.seconds},
        "inputs": inputs,
    }
    for warning in figures["warnings"]:
        logger.warning("%s", warning)
    write_scores(output_dir, figures, scores)
    return figures


def _content_hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _table(figures: dict) -> Table:
    parts = figures.get("parts", {})
    rows = [
        {"figure": name, "value": value, **{part: own["metrics"][name] for part, own in parts.items()}}
        for name, value in figures["metrics"].items()
    ]
    if "log_likelihood" in figures:
        rows.append({"figure": "log-likelihood a token", "value": f"{figures['log_likelihood']['per_token']:.3f}"})
    varied, training = figures["diversity"], figures["training_text"]
    rows += [{"figure": f"distinct-{n}", "value": f"{varied[f'distinct_{n}']:.3f}"} for n in (1, 2)]
    rows.append({"figure": "vocabulary", "value": f"{varied['vocabulary']:,}"})
    rows.append({"figure": "words a caption", "value": f"{varied['words']:.1f}"})
    if "novel_captions" in training:
        rows.append({"figure": "novel captions %", "value": f"{100 * training['novel_captions']:.1f}"})
    for name, value in figures.get("gap", {}).items():
        rows.append({"figure": name.replace("_", " "), "value": f"{value:.3f}"})
    counts = {"value": figures["images"], **{part: own["images"] for part, own in parts.items()}}
    rows.append({"figure": "images", **{name: f"{count:,}" for name, count in counts.items()}})
    return Table(rows)


def _track(config: DictConfig, figures: dict, output_dir: Path) -> None:
    tracker = Tracker(**config.tracker)
    if tracker.name == "none":
        return
    accelerator = Accelerator(log_with=tracker.name)
    start_tracker(accelerator, tracker, output_dir, OmegaConf.to_container(config, resolve=True))
    known = {name: value for name, value in figures["metrics"].items() if value is not None}
    accelerator.log({**known, **figures["diversity"], **figures.get("gap", {})})
    tracker.log_tables(accelerator, {"metrics": (["metric", "value"], [list(item) for item in known.items()])}, step=0)
    accelerator.end_training()
