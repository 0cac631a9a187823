"""Train a captioner, by default on text only.

The work behind `python -m image_captioning.train`.
"""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig

from alignment.chain import Alignment
from alignment.options import expand_steps
from common.files import file_sha256
from common.hints import warn_of_text_split
from common.plain import plain
from common.randomness import mixed_seed
from embedding_space.store import EmbeddingStore
from image_captioning.alignments import STEPS
from image_captioning.build import build_captioner
from image_captioning.captioner import Captioner
from image_captioning.captioning_model import CaptioningModel
from image_captioning.collapse import warn_of_collapse
from image_captioning.data import CaptionTokens
from image_captioning.inference_inputs import check_encoder
from image_captioning.language_models import DTYPES
from image_captioning.prefix_parts.build import check_parts, make_parts, make_vocabulary, tokenizer_text
from image_captioning.prefix_parts.examples import PartExamples
from image_captioning.provenance import print_estimates, training_provenance
from image_captioning.same_space import check_same_space
from image_captioning.selection import CaptionSelection, select_captions
from image_captioning.self_training import UncaptionedImages
from image_captioning.task import CaptioningTask, Examples
from image_captioning.tokenizer import load_tokenizer, make_tokenizer
from training.init_from import errors_of_start
from training.loop import Loop
from training.loop_config import loop_config_of
from training.run_folder import open_run, reuse_run
from training.tracking import Tracker

INPUTS = ("text", "pairs", "images")
TEXT_NOISE = ("fresh", "once")
SAMPLES = 16


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/image_captioning.yaml` says, or resume, or reuse a finished run.

    Returns:
        The metrics of the last evaluation.

    Raises:
        ValueError: bad options or damaged inputs.
        FileNotFoundError: missing inputs.
    """
    validated = INPUTS if config.train_on == "images" else ("text", "pairs")  # images: by the loss of texts
    for option, choices in (("train_on", INPUTS), ("validate_on", validated), ("text_noise", TEXT_NOISE)):
        if config[option] not in choices:
            raise ValueError(f"{option}={config[option]!r} must be one of {', '.join(choices)}")
    parts_options = plain(config.parts)
    check_parts(parts_options, config.decoder.mapper, (config.train_on, config.validate_on))
    if parts_options and config.init_from is not None:
        raise ValueError(f"init_from={config.init_from} knows no prefix parts: leave one of it and parts=... out")
    store = EmbeddingStore(config.store, config.corpus_captions)
    warn_of_text_split(store.path, store.text_split, config.dataset.text_split)
    alignment = Alignment.from_store(expand_steps(config.alignment, STEPS), STEPS, store)
    if parts_options:
        check_same_space(alignment, store.manifest.encoder)
    training, validation = select_captions(config, store)
    uncaptioned = UncaptionedImages.chosen(config, store)
    loop_config = loop_config_of(
        plain(config.loop), config.seed, config.epochs, len(training.rows if uncaptioned is None else uncaptioned)
    )
    start = None if config.init_from is None else _start(config.init_from, store)
    inputs = {"store": store.hash, "alignment": alignment.hash}
    if start:
        inputs["init_from"] = start.weights_hash()
    if vocabulary_file := (parts_options.get("vocabulary") or {}).get("file"):
        inputs["vocabulary"] = file_sha256(vocabulary_file)
    state = open_run(config.output_dir, config, config.overwrite, inputs)
    if state == "finished":
        return reuse_run(config.output_dir)
    loop = Loop(loop_config, config.output_dir, Tracker(**plain(config.tracker)))

    captions, decoder = training.captions(), plain(config.decoder)
    check_decoder(decoder)
    if uncaptioned is not None and start:
        with loop.accelerator.main_process_first():  # it writes the captions, the others read them
            teacher = start.with_alignment(alignment)
            captions = uncaptioned.captions(teacher, loop.output_dir, loop.device, loop_config.precision)
    vocabulary = make_vocabulary(parts_options, captions, store)
    if state == "unfinished":
        tokenizer = load_tokenizer(config.output_dir)
    else:
        text = tokenizer_text(captions, vocabulary)
        tokenizer = start.tokenizer if start else make_tokenizer(decoder["tokenizer"], text)
    parts = make_parts(parts_options, vocabulary, tokenizer, store) if parts_options else None
    torch.manual_seed(mixed_seed(config.seed, 4))  # initial weights
    captioner = build_captioner(
        dim=store.dim if alignment.inference_dim is None else store.manifest.dim_of("texts"),
        alignment=alignment,
        tokenizer=tokenizer,
        mapper=decoder["mapper"],
        encoder=store.manifest.encoder,
        provenance=_provenance(config, training, alignment, start, uncaptioned),
        pretrained=decoder["pretrained"],
        config=decoder["config"],
        lora=decoder.get("lora"),
        dtype=decoder.get("dtype"),
        by_reference=start is None and not trains_decoder(decoder),
        parts=parts,
    )
    if start:
        captioner.start_from(start)
    captioner.to(loop.device)
    set_up_decoder(captioner, decoder)

    references, limits = validation.captions(), (tokenizer, decoder["max_tokens"], decoder["truncate"])
    tokens = (
        CaptionTokens.encode(captions, *limits) if uncaptioned is None else uncaptioned.tokens(captions, *limits[:2])
    )
    if is_main := loop.accelerator.is_main_process:
        warn_of_collapse(captions, tokens, training.texts() if config.train_on == "text" else None)
        print_estimates(alignment)
    validation_tokens = CaptionTokens.encode(references, *limits).to(loop.device)
    captioner.check_room(max(int(part.lengths.max()) for part in (tokens, validation_tokens)))
    tokens = tokens.to(loop.device)
    if uncaptioned is not None:
        examples = uncaptioned.examples(captioner.alignment, tokens)
    else:
        examples = Examples.load(training, tokens, captioner.alignment, config.train_on)
    if config.text_noise == "once" and config.train_on == "text":
        examples = examples.aligned_once(captioner.alignment, config.seed, is_main)
    validation_examples = {
        metric: Examples.load(validation, validation_tokens, captioner.alignment, inputs)
        for metric, inputs in (("text_loss", "text"), ("paired_validation_loss", "pairs"))
        if inputs in ("text", config.validate_on)
    }
    if captioner.parts is not None:
        examples = PartExamples.load(examples, training, captioner.parts, config.seed, 7)
        validation_examples = {
            metric: PartExamples.load(held_out, validation, captioner.parts, config.seed, 8)
            for metric, held_out in validation_examples.items()
        }
    samples = (validation_examples["text_loss"].rows[:SAMPLES], references[:SAMPLES])
    options = (loop_config.batch_size, config.seed, config.label_smoothing)
    task = CaptioningTask(captioner, examples, validation_examples, samples, *options)
    return loop.fit(captioner, task, resume=state == "unfinished", pretrained=start is not None)


def _start(checkpoint: str, store: EmbeddingStore) -> Captioner:
    """The captioner whose weights training starts from."""
    with errors_of_start(checkpoint):
        start = Captioner.load(checkpoint)
        check_encoder(start, store)
    return start.cpu()


def _provenance(
    config: DictConfig,
    training: CaptionSelection,
    alignment: Alignment,
    start: Captioner | None,
    uncaptioned: UncaptionedImages | None,
) -> dict[str, Any]:
    """What the captioner was trained on, and what the one that it starts from was."""
    provenance = training_provenance(config, training, alignment)
    if uncaptioned is not None:
        provenance |= uncaptioned.provenance()
    if start is None:
        return provenance
    uses_pairs = provenance["uses_pairs"] or start.provenance.get("uses_pairs", True)
    return {**provenance, "uses_pairs": uses_pairs, "init_from": start.provenance}


def trains_decoder(decoder: dict[str, Any]) -> bool:
    """Whether the decoder's own weights are trained, and not only the mapper or adapters."""
    return decoder["train_decoder"] and decoder.get("lora") is None


def check_decoder(decoder: dict[str, Any]) -> None:
    """Refuse options of a decoder that do not go together.

    Raises:
        ValueError: they do not.
    """
    lora, dtype = decoder.get("lora"), decoder.get("dtype")
    if not decoder["train_decoder"]:
        if decoder["pretrained"] is None:
            raise ValueError("decoder.train_decoder=false needs a trained decoder: name one with decoder.pretrained")
        if decoder["gradient_checkpointing"]:
            raise ValueError(
                "decoder.gradient_checkpointing=true does nothing for a decoder that is not trained "
                "(decoder.train_decoder=false): set it to false"
            )
        if lora is not None:
            raise ValueError(
                "decoder.train_decoder=false trains no adapters: set decoder.lora=null for the mapper alone, or "
                "decoder.train_decoder=true for adapters beside a decoder that stays as it is"
            )
    if lora is not None and decoder["pretrained"] is None:
        raise ValueError("decoder.lora needs a trained decoder: name one with decoder.pretrained, or set it to null")
    if dtype not in (None, *DTYPES):
        raise ValueError(f"decoder.dtype={dtype!r} must be null or one of {', '.join(DTYPES)}")
    if dtype in ("bf16", "fp16") and trains_decoder(decoder):
        raise ValueError(
            f"decoder.dtype={dtype} rounds small steps away: set it to null, or train adapters (decoder.lora) or the "
            "mapper alone (decoder.train_decoder=false)"
        )


def set_up_decoder(captioner: CaptioningModel, decoder: dict[str, Any]) -> None:
    """Freeze the decoder, or recompute its activations, as its options say."""
    if not decoder["train_decoder"]:
        captioner.language_model.requires_grad_(False)  # ClipCap's second variant: the mapper alone is trained
    if decoder["gradient_checkpointing"]:
        captioner.checkpoint_gradients()
