"""Alignments by name: of a method's config, or of a trained captioner."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from torch import Tensor

from alignment.chain import Alignment, in_parts
from alignment.options import expand_steps
from common.config import compose_config
from common.paths import CONFIGS, PRETRAINED
from common.randomness import normal_sampler
from embedding_space.store import EmbeddingStore
from evaluation.geometry.sample import Embeddings
from image_captioning.alignments import STEPS
from image_captioning.captioner import Captioner
from image_captioning.inference_inputs import check_encoder


def load_alignment(name: str, config: DictConfig, store: EmbeddingStore) -> Alignment:
    """The chain of a file in configs/alignment, or of a captioner by folder or name.

    Args:
        config: the command's, whose `dataset`, `encoder` and `seed` become the method's. Its `diffusion_dir`, if any,
            is the bridge's diffusion model; its `stage_experiment`, if any, has the method's settings.

    Raises:
        ValueError: no such file or captioner, or a captioner that reads another encoder's embeddings.
    """
    known = {path.stem for path in (CONFIGS / "alignment").glob("*.yaml")}
    if name in known:
        return _method_alignment(name, config, store)
    if any((folder / "config.json").exists() for folder in (Path(name), PRETRAINED / name)):
        return captioner_alignment(name, store)
    raise ValueError(
        f"alignments: {name!r} is neither a config ({', '.join(sorted(known))}) nor the folder of a captioner"
    )


def captioner_alignment(checkpoint: str, store: EmbeddingStore) -> Alignment:
    """A trained captioner's chain, on the CPU.

    Raises:
        FileNotFoundError: there is no such captioner.
        ValueError: it is damaged, or reads another encoder's embeddings.
    """
    captioner = Captioner.load(checkpoint)
    check_encoder(captioner, store)
    return captioner.alignment.cpu()


def _method_alignment(name: str, config: DictConfig, store: EmbeddingStore) -> Alignment:
    experiment = config.get("stage_experiment")
    settings = [f"experiment={experiment}"] if experiment else []
    stage = compose_config("image_captioning", *settings, f"alignment={name}")
    for key in ("dataset", "encoder", "seed"):
        stage[key] = config[key]
    if "diffusion_dir" in config and "diffusion" in stage.alignment:
        stage.alignment.diffusion = config.diffusion_dir
    return Alignment.from_store(expand_steps(stage.alignment, STEPS), STEPS, store)


def aligned(embeddings: Embeddings, alignment: Alignment, text_noise: bool = True) -> Embeddings:
    """Raw embeddings after an alignment: images as the decoder reads them at inference, texts as in training.

    Args:
        text_noise: whether texts have the training side's noise, drawn with the embeddings' seed.
    """
    normal = normal_sampler(embeddings.generator())

    def side(rows: Tensor) -> Tensor:
        return alignment.training_side(rows, normal) if text_noise else alignment.clean_side(rows)

    images = in_parts(alignment.inference_side, embeddings.images)
    return embeddings.moved(images, in_parts(side, embeddings.texts))
