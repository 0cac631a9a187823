"""Score generated pictures against real ones and against their sentences.

The work behind `scripts/eval_generation.py`.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

import image_generation.run_names  # noqa: F401, registers ${pictures_name:...}
from alignment.chain import Alignment
from alignment.options import expand_steps
from common.config import compose_config
from common.plain import plain
from embedding_space.encoders.base import Encoder
from embedding_space.encoders.load import load_encoder
from embedding_space.store import EmbeddingStore
from evaluation.captions.clip_score import ClipScoring
from evaluation.pictures.distances import KernelSubsets
from evaluation.pictures.generated import read_generated
from evaluation.pictures.references import References, folder_references, split_references
from evaluation.pictures.result import GenerationResult
from evaluation.pictures.scorer import PictureScorer
from evaluation.pictures.scoring_options import PictureScoring
from evaluation.pictures.sentences import RPrecision
from evaluation.pictures.tables import notes, picture_table
from image_captioning.alignments import STEPS
from image_generation.candidates import BestOf
from image_generation.conditions import Conditions
from image_generation.draw_split import Prompts, draw_split
from image_generation.flow import Sampling
from image_generation.generator import ImageGenerator
from image_generation.score_pictures import DemoJudge, scored
from modality_translation.translation import load_translation

DEMO_WORLD = "demo_world"  # the kind of its data sets


def evaluate(config: DictConfig) -> GenerationResult:
    """Evaluate as `configs/eval_generation.yaml` says, and print the table; `scores.json` holds the result."""
    scoring, output_dir = _scoring(config), Path(config.output_dir)
    generated = read_generated(pictures_folder(config))
    scorer = PictureScorer(
        generated,
        _references(config),
        load_encoder(**plain(config.encoder)),
        scoring,
        _judge(config),
        _detector(config) if "objects" in scoring.metrics else None,
    )
    result = scored(scorer, output_dir, "overwrite" if config.overwrite else "check")
    OmegaConf.save(config, output_dir / "config.yaml", resolve=True)
    print("\n".join([picture_table(result).text(), "", *notes(result), f"Scores: {output_dir}"]))
    return result


def pictures_folder(config: DictConfig) -> Path:
    """The folder of the pictures to score. Raises ValueError where no option says which, or two say it.

    Those of a generator's checkpoint are first drawn into `output_dir/pictures`.
    """
    if config.checkpoint is not None:
        if config.pictures not in (None, compose_config("eval_generation").pictures):
            raise ValueError(f"checkpoint={config.checkpoint} and pictures={config.pictures}: give one of them")
        folder = Path(config.output_dir) / "pictures"
        prompts = Prompts(config.prompts.split, config.prompts.count, config.prompts.seed)
        store, sampling = EmbeddingStore(config.store), Sampling(**plain(config.sampling))
        best_of = BestOf(config.candidates)
        generator = ImageGenerator.load(config.checkpoint)
        draw_split(
            generator, store, prompts, sampling, folder, config.precision, config.overwrite, _conditions(config),
            best_of,
        )  # fmt: skip
        return folder
    for option, is_given in (
        ("alignment", config.get("alignment") is not None),
        ("translation", config.translation is not None),
        ("prompts.from_images", config.prompts.from_images),
        ("candidates", config.candidates != 1),
    ):
        if is_given:
            raise ValueError(f"{option} changes how a checkpoint draws, and there is none: leave it out, or give one")
    if config.pictures is None:
        raise ValueError(
            "There is nothing to score: give checkpoint=, or pictures=FOLDER of pictures with their images.json"
        )
    return Path(config.pictures)


def _conditions(config: DictConfig) -> Conditions:
    alignment = None
    if config.get("alignment") is not None:
        images = EmbeddingStore(config.store, training_modality="images")
        alignment = Alignment.from_store(expand_steps(config.alignment, STEPS), STEPS, images)
    translation = None if config.translation is None else load_translation(str(config.translation))
    return Conditions(config.prompts.from_images, alignment, translation)


def _scoring(config: DictConfig) -> PictureScoring:
    clip = plain(config.clip_score)
    del clip["encoder"]
    return PictureScoring(
        tuple(config.metrics),
        config.picture_size,
        config.fid.weights,
        ClipScoring(**clip),
        RPrecision(**plain(config.r_precision)),
        KernelSubsets(**plain(config.kernel)),
        config.seed,
    )


def _references(config: DictConfig) -> References:
    if config.reference is not None:
        return folder_references(config.reference)
    return split_references(config.dataset.root, config.split)


def _judge(config: DictConfig) -> Encoder | None:
    """The encoder that `clip_score.encoder` names; None for `encoder` itself."""
    name = config.clip_score.encoder
    return None if name is None else load_encoder(**plain(compose_config("eval_generation", f"encoder={name}").encoder))


def _detector(config: DictConfig) -> DemoJudge | None:
    if config.detector == "auto":
        return DemoJudge() if config.dataset.get("kind") == DEMO_WORLD else None
    return None if config.detector is None else DemoJudge(config.detector)
