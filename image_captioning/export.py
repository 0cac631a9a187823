"""Copy a trained captioner into a folder to share: half-size weights, tokenizer, manifest.

The work behind `scripts/export.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from omegaconf import DictConfig
from torch import nn

from alignment.chain import Alignment
from alignment.row_memory import RowMemory
from common.config import drop_nulls
from common.files import file_sha256, write_json
from common.plain import plain
from common.provenance import run_facts
from embedding_space.encoders.carried import IMAGE_FOLDER, carry_files, missing_parts
from embedding_space.encoders.identity import is_same_encoder
from evaluation.captions.result import EvaluationResult
from image_captioning.captioner import Captioner
from image_captioning.captioning_model import CaptioningModel
from image_captioning.checkpoints import checkpoint_sha256
from image_captioning.inference_inputs import named_training_source
from image_captioning.memory_captions import save_memory_captions
from image_captioning.model_card import CardOptions, read_card, write_card
from training.run_folder import FINISHED, RESUME, first_difference

WRITTEN = ("model.safetensors", "config.json", "manifest.json", "tokenizer.json")


def export(config: DictConfig) -> Path:
    """Export as `configs/export.yaml` says; returns the folder.

    A decoder that the checkpoint names and does not hold is copied, and adapters are merged into it. The weights and a
    text memory become float16. Other buffers (means, the diffusion's schedule) stay float32: they are
    small, and the schedule's ratios need it. A memory that was too large to save with the run is saved here, so that
    the folder needs no store. An encoder of one's own is copied into `encoder/`, and that of pictures which a
    translation reads into `image_encoder/`; what is not on this machine is named.

    Raises:
        FileNotFoundError: no captioner to load, or no evaluation of it.
        ValueError: they do not belong together, the training is not finished, or the folder holds a model already.
    """
    to = Path(config.to)
    if config.card_only:
        return renew_card(config, to)
    check_target(to, config.overwrite)
    captioner, image_side = Captioner.load(config.checkpoint).cpu(), drop_nulls(config.image_side)
    check_finished(cast(Path, captioner.folder))
    scores = _scores(config, captioner, image_side) if config.evaluation else None
    alignment = captioner.alignment.with_inference_options(image_side)
    carry_encoders(captioner, alignment, to)
    captioner.parts = captioner.parts and captioner.parts.self_contained()
    captioner = captioner.with_alignment(self_contained(alignment)).whole()
    halve(captioner)
    before = read_card(to)
    captioner.save_pretrained(to)
    if config.training_store is not None:
        save_memory_captions(captioner, named_training_source(config.training_store, captioner), to)
    manifest = run_facts() | {
        "checkpoint": str(config.checkpoint),
        "image_side": image_side,
        "encoder": captioner.encoder_description,
        **({} if alignment.inference_encoder is None else {"image_encoder": alignment.inference_encoder}),
        "sha256": file_sha256(to / "model.safetensors"),
        "scores": scores and scores.to_json(),
    }
    write_json(to / "manifest.json", manifest)
    write_card(to, captioner, manifest, scores, CardOptions(**plain(config.card)), before)
    print_size(captioner, to)
    return to


def check_target(to: Path, overwrite: bool) -> None:
    """Refuse a folder in which an export would replace something.

    Raises:
        ValueError: it is a run folder, or it holds one of the files and `overwrite` is false.
    """
    if any((to / name).exists() for name in (FINISHED, RESUME)):
        raise ValueError(f"to={to} is the folder of a training, whose weights would be halved: give to= another folder")
    there = [name for name in WRITTEN if (to / name).exists()]
    if there and not overwrite:
        raise ValueError(f"{to} holds {there[0]} already: give to= another folder, or overwrite=true")


def check_finished(folder: Path) -> None:
    """Refuse the weights of a training that stopped on its way. Raises ValueError."""
    if (folder / RESUME).exists():
        raise ValueError(
            f"The training in checkpoint={folder} is not finished: run its command again, which goes on, then export"
        )


def renew_card(config: DictConfig, folder: Path) -> Path:
    """Write the model card of a folder that was exported before, from what is in it.

    Raises:
        FileNotFoundError: no captioner, or no manifest.
        ValueError: options that only an export has.
    """
    captioner = Captioner.load(config.checkpoint)
    if captioner.folder is None or captioner.folder.resolve() != folder.resolve():
        raise ValueError(
            f"card_only=true writes the card of checkpoint={config.checkpoint}, which is not to={folder}: name it twice"
        )
    extra = [name for name in ("evaluation", "training_store") if config[name] is not None]
    extra += [f"image_side.{name}" for name in drop_nulls(config.image_side)]
    if extra:
        raise ValueError(f"card_only=true leaves weights and manifest as they are, and {extra[0]} changes them")
    path = folder / "manifest.json"
    if not path.is_file():
        raise FileNotFoundError(f"No manifest.json in {folder}: export it again, without card_only=true")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    scores = manifest.get("scores")
    known = EvaluationResult.from_json(scores) if scores else None
    write_card(folder, captioner, manifest, known, CardOptions(**plain(config.card)), read_card(folder))
    return folder


def carry_encoders(captioner: CaptioningModel, alignment: Alignment, to: Path) -> None:
    """Copy the encoders' own files into `to`, and let the captioner and the alignment name the copies.

    A translation describes two encoders; that of its texts is the captioner's, whose files are copied once.

    Raises:
        ValueError: as `carry_files`.
    """
    own = captioner.encoder_description
    carried = carry_files(own, to)

    def carry(description: Mapping) -> Mapping:
        same = description == own or ("sha256" in description and is_same_encoder(description, own))
        if same:
            return carried
        _report_missing(description)
        return carry_files(description, to, IMAGE_FOLDER)

    _report_missing(own)
    captioner.encoder_description = carried
    alignment.move_encoders(carry)


def _report_missing(description: Mapping) -> None:
    """Say which of an encoder's files cannot be copied."""
    if parts := missing_parts(description):
        print(
            f"Not in the export: {', '.join(parts)}, of the encoder {description.get('name')}, since it is not on this "
            "machine. Whoever captions needs it at the same path",
            file=sys.stderr,
        )


def self_contained(alignment: Alignment) -> Alignment:
    """The chain with its memories whole, so that a checkpoint needs no store."""
    chain = Alignment(step.self_contained() if isinstance(step, RowMemory) else step for step in alignment.steps)
    chain.estimated_from_pairs = alignment.estimated_from_pairs
    return chain


def halve(model: nn.Module) -> None:
    """Make the weights and the memories of a model float16, in place."""
    for parameter in model.parameters():
        parameter.data = parameter.data.half()
    for step in model.modules():
        if isinstance(step, RowMemory):
            step.memory = step.memory.half()


def print_size(model: nn.Module, folder: Path) -> None:
    """One line: what was written to a folder."""
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    print(f"{folder}: {sum(weights.numel() for weights in model.parameters()):,} parameters, {size / 1e6:.1f} MB")


def _scores(config: DictConfig, captioner: Captioner, image_side: dict) -> EvaluationResult:
    """The scores of this captioner's evaluation.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is of another captioner.
    """
    path = Path(config.evaluation) / "scores.json"
    words = ["run python scripts/eval_coco.py", f"checkpoint={config.checkpoint}", f"output_dir={config.evaluation}"]
    again = " ".join([*words, "overwrite=true", *(f"image_side.{key}={value}" for key, value in image_side.items())])
    if not path.exists():
        raise FileNotFoundError(f"No scores.json in evaluation={config.evaluation}: {again}")
    scores = EvaluationResult.from_json(json.loads(path.read_text()))
    exported = {
        "checkpoint": checkpoint_sha256(cast(Path, captioner.folder)),
        "image_mean_from": "checkpoint",
        "alignment": None,
        "image_side": image_side,
    }
    evaluated = {name: (scores.inputs or {}).get(name, "not recorded") for name in exported}
    if difference := first_difference(evaluated, exported):
        raise ValueError(
            f"evaluation={config.evaluation} is not of the captioner that is exported from checkpoint="
            f"{config.checkpoint} ({difference}): {again}, or leave it out"
        )
    return scores
