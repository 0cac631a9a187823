"""Train PCM-Net on a text corpus and the pictures that a painter gave it.

The work behind `python -m pcm_net.train`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from transformers import BertGenerationDecoder

from alignment.chain import Alignment
from alignment.options import expand_steps
from common.files import file_sha256
from common.hints import warn_of_text_split
from common.plain import plain
from common.randomness import mixed_seed
from embedding_space.store import EmbeddingStore
from image_captioning.alignments import STEPS
from image_captioning.build import language_model_to_train
from image_captioning.concepts import Concepts
from image_captioning.data import CaptionTokens
from image_captioning.lora import load_plain
from image_captioning.make_concepts import make_concepts
from image_captioning.provenance import print_estimates, training_provenance
from image_captioning.selection import CaptionSelection, select_captions
from image_captioning.tokenizer import end_token, load_tokenizer, make_tokenizer
from image_captioning.training_run import check_decoder, set_up_decoder
from pcm_net.captioner import PCMNet
from pcm_net.loss import spread_over_others
from pcm_net.task import PairExamples, PairTask, caption_weights
from synthetic_images.provenance import FILE, Provenance
from training.loop import Loop
from training.loop_config import loop_config_of
from training.run_folder import open_run, reuse_run
from training.tracking import Tracker

CHOICES = {"train_on": ("synthetic", "pairs"), "validate_on": ("synthetic", "pairs"), "global_row": ("image", "text")}
SAMPLES = 16


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/pcm_net.yaml` says, or resume, or reuse a finished run.

    Returns:
        The metrics of the last evaluation.

    Raises:
        ValueError: bad options or damaged inputs, or a store without patches.
        FileNotFoundError: missing inputs.
    """
    for option, choices in CHOICES.items():
        if config[option] not in choices:
            raise ValueError(f"{option}={config[option]!r} must be one of {', '.join(choices)}")
    store = EmbeddingStore(config.store, config.corpus_captions)
    warn_of_text_split(store.path, store.text_split, config.dataset.text_split)
    alignment = Alignment.from_store(expand_steps(config.alignment, STEPS), STEPS, store)
    if config.global_row == "image":
        _check_sides(alignment, config.alignment.name, store.dim)
    training, validation = select_captions(config, store)
    loop_config = loop_config_of(plain(config.loop), config.seed, config.epochs, len(training.rows))
    inputs = {"store": store.hash, "alignment": alignment.hash}
    if config.concepts.file is not None:
        inputs["concepts"] = file_sha256(config.concepts.file)
    state = open_run(config.output_dir, config, config.overwrite, inputs)
    if state == "finished":
        return reuse_run(config.output_dir)
    loop = Loop(loop_config, config.output_dir, Tracker(**plain(config.tracker)))

    captions, decoder = training.captions(), plain(config.decoder)
    if decoder.get("kind", "prefix") == "prefix":
        check_decoder(decoder)
    if state == "unfinished":
        tokenizer = load_tokenizer(config.output_dir)
    else:
        tokenizer = make_tokenizer(decoder["tokenizer"], captions)
    concepts = make_concepts(plain(config.concepts), captions, store)
    torch.manual_seed(mixed_seed(config.seed, 4))  # initial weights
    model = _build(config, store, alignment, concepts, tokenizer, _provenance(config, training, alignment))
    model.to(loop.device)
    if not isinstance(model.language_model, BertGenerationDecoder):
        set_up_decoder(model, decoder)

    references, limits = validation.captions(), (tokenizer, decoder["max_tokens"], decoder["truncate"])
    tokens = CaptionTokens.encode(captions, *limits)
    if loop.accelerator.is_main_process:
        print_estimates(alignment)
    validation_tokens = CaptionTokens.encode(references, *limits).to(loop.device)
    model.check_room(max(int(part.lengths.max()) for part in (tokens, validation_tokens)))
    examples = PairExamples.load(training, tokens.to(loop.device), config.global_row)
    held_out = PairExamples.load(validation, validation_tokens, "image").aligned_once(model.alignment)
    metric = "paired_validation_loss" if config.validate_on == "pairs" else "synthetic_loss"
    some = torch.arange(min(SAMPLES, len(references)), device=loop.device)
    samples = (held_out.inputs(model.alignment, some, torch.zeros_like), references[: len(some)])
    scale = config.clip_weight_scale
    weights = None if scale is None else caption_weights(training, examples, scale)
    smoothing = spread_over_others(config.label_smoothing, model.language_model.config.vocab_size)
    task = PairTask(
        model, examples, {metric: held_out}, samples, loop_config.batch_size, config.seed, smoothing,
        caption_weights=weights,
    )  # fmt: skip
    return loop.fit(model, task, resume=state == "unfinished")


def _build(
    config: DictConfig,
    store: EmbeddingStore,
    alignment: Alignment,
    concepts: Concepts,
    tokenizer: Any,
    provenance: dict,
) -> PCMNet:
    """A new model for the store's patches."""
    decoder, weights = plain(config.decoder), None
    kind = decoder.get("kind", "prefix")
    if kind == "cross_attention":
        described = {**decoder["config"], "vocabulary": len(tokenizer), "end": end_token(tokenizer)}
    else:
        chosen = (decoder["pretrained"], decoder["config"], decoder.get("dtype"))
        described, weights = language_model_to_train(tokenizer, *chosen)
        described = {"mapper": decoder["mapper"], "language_model": described, "lora": decoder.get("lora")}
    count, width = store.patch_features(store.text_split).shape[1:]
    model = PCMNet(
        dim=store.dim,
        patch_width=width,
        patches=count,
        concepts=concepts.names,
        mixup=plain(config.mixup),
        network=plain(config.network),
        decoder={"kind": kind, **described},
        alignment=alignment.options(),
        encoder=dict(store.manifest.encoder),
        provenance=provenance,
    )
    model.alignment, model.tokenizer = alignment, tokenizer
    model.mixup.concepts.copy_(concepts.rows)
    if weights is not None:
        load_plain(model.language_model, weights)
    return model


def _check_sides(alignment: Alignment, name: str, dim: int) -> None:
    """Refuse an alignment that treats images in another way than texts: in training it would see images as texts.

    Raises:
        ValueError: it does.
    """
    rows = F.normalize(torch.randn(16, dim, generator=torch.Generator().manual_seed(0)), dim=-1)
    same = alignment.inference_dim is None and torch.allclose(
        alignment.clean_side(rows), alignment.inference_side(rows), atol=1e-4
    )
    if not same:
        raise ValueError(
            f"global_row=image needs an alignment that does the same to images as to texts, and alignment={name} does "
            "not: choose c1 or c2_corrupt, or set global_row=text, which trains on the captions' rows"
        )


def _provenance(config: DictConfig, training: CaptionSelection, alignment: Alignment) -> dict[str, Any]:
    """What the model was trained on, for results to repeat."""
    root, images, painter = training.store.path.parent, "real pairs", {}
    if config.train_on == "synthetic":
        images = "unknown"
        if (root / FILE).exists():
            painting = Provenance.read(root)
            images, painter = painting.images, {"painter": dict(painting.painter)}
    shared = training_provenance(config, training, alignment)
    return {**shared, "global_row": config.global_row, "images": images, **painter}
