"""Score captions: of a captioner on a data set's split, or from a file.

The work behind `scripts/eval_coco.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

import image_captioning.run_names  # noqa: F401, registers ${run_name:...}
from alignment.chain import Alignment
from alignment.options import expand_steps
from common.config import compose_config, drop_nulls
from common.plain import plain
from embedding_space.store import EmbeddingStore
from evaluation.captions.clip_score import ClipScoring
from evaluation.captions.result import EvaluationResult
from evaluation.captions.score_file import score_file
from evaluation.captions.scoring_options import Scoring, named
from evaluation.captions.tables import metrics_table
from image_captioning.alignments import STEPS
from image_captioning.captioner import Captioner
from image_captioning.captioning_model import CaptioningModel
from image_captioning.evaluate import evaluate_captioner
from image_captioning.generation import Decoding
from image_captioning.inference_inputs import InferenceInputs, as_trained_on
from modality_translation.step import ModalityTranslation, check_encoder
from modality_translation.translation import load_translation
from training.run_folder import run_options
from training.tracking import Tracker, send_results

# Options that concern a file of captions alone, and those that concern a captioner alone.
OF_FILES = ("references_split", "allow_missing")
OF_CAPTIONERS = (
    "checkpoint",
    "caption_from",
    "image_mean_from",
    "image_side",
    "alignment",
    "image_store",
    "translation",
    "concepts",
)


def evaluate(config: DictConfig, load: Callable[[str], CaptioningModel] = Captioner.load) -> EvaluationResult:
    """Evaluate as `configs/eval_coco.yaml` says, and print the table; `scores.json` holds the result.

    Args:
        load: makes the captioner of `checkpoint`.
    """
    output_dir = Path(config.output_dir)
    if (config.predictions is None) != (config.references is None):
        raise ValueError("predictions= and references= go together: give both files, or neither and a checkpoint=")
    if config.predictions is None and config.checkpoint is None:
        raise ValueError("There is nothing to score: give checkpoint=, or predictions= and references=")
    _check_options(config)
    scoring = Scoring(tuple(config.metrics), config.cache_dir, clip_scoring(config), tuple(config.classes))
    existing = "overwrite" if config.overwrite else "check"
    if config.predictions is not None:
        result = score_file(
            config.predictions, config.references, output_dir, scoring, config.references_split, config.split,
            config.training_store, config.allow_missing, existing,
        )  # fmt: skip
    else:
        captioner = load(config.checkpoint)
        inputs, decoding = _inference_inputs(config, captioner), Decoding(**config.decoding)
        result = evaluate_captioner(captioner, inputs, output_dir, decoding, scoring, existing)
    OmegaConf.save(config, output_dir / "config.yaml", resolve=True)
    print(metrics_table(result).text())
    if result.left_out:
        print(f"Left out, for there are no captions to score against: {named(result.left_out.image_ids)}")
    print(f"Predictions and scores: {output_dir}")
    _track(config, result, output_dir)
    return result


def _check_options(config: DictConfig) -> None:
    """Refuse options that concern what is not scored here: a captioner, or a file of captions."""
    if config.predictions is None:
        for option in OF_FILES:
            if config[option]:
                raise ValueError(
                    f"{option}={config[option]} is of predictions= and references=, and a checkpoint is scored: leave "
                    "it out, or give both files"
                )
        return
    given, default = plain(config, resolve=False), plain(compose_config("eval_coco"), resolve=False)
    for option in OF_CAPTIONERS:
        if given.get(option) not in (None, default.get(option)):
            raise ValueError(
                f"{option}={_shown(given[option])} is of a captioner, and predictions={config.predictions} is a file "
                "of captions: leave one of them out"
            )


def _shown(value: object) -> object:
    """An option as messages have it: of parts those that are given, of a config its name."""
    return value.get("name", drop_nulls(value)) if isinstance(value, dict) else value


def clip_scoring(config: DictConfig) -> ClipScoring:
    """`clip_score.*`, with the store that `clip_score.encoder` names. Raises ValueError where both are given."""
    options = plain(config.clip_score)
    encoder = options.pop("encoder")
    if encoder is not None:
        if options["store"] is not None:
            raise ValueError(f"clip_score.encoder={encoder} and clip_score.store={options['store']}: give one of them")
        options["store"] = f"{config.dataset.root}/{compose_config('eval_coco', f'encoder={encoder}').encoder.name}"
    return ClipScoring(**options)


def _inference_inputs(config: DictConfig, captioner: CaptioningModel) -> InferenceInputs:
    names = ("split", "caption_from", "image_side", "image_mean_from", "training_store", "batch_size", "precision")
    options = {name: config[name] for name in names}
    stores = {name: EmbeddingStore(config[name]) for name in ("store", "image_store")}
    return InferenceInputs(**stores, alignment=_other_alignment(config, captioner), **options)


def _other_alignment(config: DictConfig, captioner: CaptioningModel) -> Alignment | None:
    """The chain that takes the place of the captioner's, if there is to be one."""
    alignment = None
    if "alignment" in config:
        entries = expand_steps(config.alignment, STEPS)
        store = as_trained_on(EmbeddingStore(config.alignment_store), captioner)
        alignment = Alignment.from_store(entries, STEPS, store)
    if config.translation is None:
        return alignment
    if alignment is not None:
        raise ValueError(f"alignment={config.alignment.name} and translation={config.translation}: give one of them")
    translation, reader = load_translation(config.translation), f"the captioner {config.checkpoint}"
    check_encoder(translation, "texts", captioner.encoder_description, reader, config.translation)
    return Alignment(captioner.alignment.steps, ModalityTranslation.of(translation))


def _track(config: DictConfig, result: EvaluationResult, output_dir: Path) -> None:
    """Send the scores, with the options of the evaluation and, under `training`, of its captioner's training."""
    tracker = Tracker(**config.tracker)
    if tracker.name == "none":
        return
    options = plain(config)
    if config.checkpoint and (training := run_options(config.checkpoint)):
        options["training"] = training
    known = {name: value for name, value in result.metrics.items() if value is not None}
    numbers = known | {k: v for part in (result.diversity, result.gap) if part for k, v in asdict(part).items()}
    table = ["metric", "value"], [list(item) for item in known.items()]
    send_results(tracker, output_dir, options, "evaluation", numbers, {"metrics": table})
