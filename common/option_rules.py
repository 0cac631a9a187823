"""What the options of configs/ may be, where their defaults do not say it: one table for all commands.

The defaults say most: an option whose default is a list is a list, true is a flag, 5 a whole number and 5.0 any number.
Whole numbers are at least 1, others at least 0, and neither may be null, unless a table here says otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Number:
    """A range of numbers.

    Attributes:
        whole: integers alone.
        least, most: bounds that belong to the range.
        above, below: bounds that do not.
        null, words: values that may take a number's place.
    """

    whole: bool = False
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    null: bool = False
    words: tuple[str, ...] = ()

    def allows(self, value: object) -> bool:
        if value is None or isinstance(value, str):
            return self.null if value is None else value in self.words
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        inside = math.isfinite(value) and (self.least is None or value >= self.least)
        inside = inside and (self.above is None or value > self.above)
        return inside and (self.most is None or value <= self.most) and (self.below is None or value < self.below)

    def __str__(self) -> str:
        bounds = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        limits = " and ".join(f"{name} {bound:g}" for name, bound in bounds.items() if bound is not None)
        kind = f"a {'whole ' if self.whole else ''}number{', ' if limits else ''}{limits}"
        return " or ".join([*(["null"] if self.null else []), *self.words, kind])


# By an option's last name, or by as much of the whole as tells it from others of that name; * stands for anything.
COUNT, COUNT_OR_NULL = Number(whole=True, least=1), Number(whole=True, least=1, null=True)
FROM_0, FROM_0_OR_NULL = Number(whole=True, least=0), Number(whole=True, least=0, null=True)
POSITIVE, POSITIVE_OR_NULL = Number(above=0), Number(above=0, null=True)
NOT_NEGATIVE, NOT_NEGATIVE_OR_NULL = Number(least=0), Number(least=0, null=True)
SHARE, BELOW_1 = Number(least=0, most=1), Number(least=0, below=1)
NUMBERS = {
    "seed": FROM_0, "tune_seed": FROM_0, "sampling.seed": FROM_0_OR_NULL, "decoding.seed": FROM_0_OR_NULL,
    "encoder.seconds": POSITIVE_OR_NULL, "encoder.side": COUNT_OR_NULL,
    "workers": FROM_0, "encoder.workers": FROM_0_OR_NULL, "encoder.batch_size": COUNT_OR_NULL,
    "*_scenes": FROM_0, "warmup": FROM_0, "warmup_steps": FROM_0, "shift_pixels": FROM_0, "fill_color": FROM_0,
    "shift_frames": FROM_0, "mask_mels": FROM_0,
    "no_repeat_ngram": FROM_0, "examples": FROM_0, "reconstruct*_steps": FROM_0,
    "varying": FROM_0, "constant": FROM_0,
    "loop.steps": COUNT_OR_NULL, "epochs": COUNT_OR_NULL, "sampling.steps": COUNT_OR_NULL,
    "evaluate_every": COUNT_OR_NULL, "checkpoint_every": COUNT_OR_NULL,
    "pictures": FROM_0, "picture_side": Number(whole=True, least=32),
    "picture_size": Number(whole=True, least=8, null=True),
    "kernel.subset_size": Number(whole=True, least=2), "r_precision.candidates": Number(whole=True, least=2),
    "dataset.image_size": Number(whole=True, least=32),  # in a smaller one nobody recognizes anything
    "training_scenes": COUNT, "validation_scenes": COUNT, "report_scenes": COUNT, "misplaced": SHARE,
    "world_seed": FROM_0, "report_seed": FROM_0,
    "variance_share": Number(above=0, below=1), "draws": Number(whole=True, least=2),
    "train_captions": COUNT_OR_NULL, "corpus_captions": COUNT_OR_NULL, "validation_captions": COUNT_OR_NULL,
    "pairs_fraction": Number(above=0, below=1, null=True),
    "val_fold": COUNT_OR_NULL,
    "memory_rows": COUNT_OR_NULL,
    "max_images": Number(whole=True, least=4, null=True), "max_texts": Number(whole=True, least=4, null=True),
    "denoiser.width": COUNT_OR_NULL, "text_tower.max_tokens": COUNT_OR_NULL, "hidden": COUNT_OR_NULL,
    "encoder.image_tower.image_size": COUNT_OR_NULL, "ddim_steps": COUNT_OR_NULL, "beams": COUNT_OR_NULL,
    "image_side.image_steps": COUNT_OR_NULL, "image_side.image_timestep": FROM_0_OR_NULL,
    "image_timestep": Number(whole=True, least=0, words=("auto",)), "text_timestep": FROM_0_OR_NULL,
    "noise_std": Number(least=0, words=("auto",)), "query_noise_std": NOT_NEGATIVE, "eta": NOT_NEGATIVE,
    "neighbors": COUNT_OR_NULL, "probes": COUNT_OR_NULL, "shrinkage": SHARE,
    "covariance_images": Number(whole=True, least=2),
    "diffusion.embed_scale": Number(above=0, words=("sqrt_dim",)),
    "cdim.embed_scale": Number(above=0, null=True, words=("sqrt_dim",)),
    "learning_rate": POSITIVE, "clip_norm": POSITIVE_OR_NULL, "embedding_length": POSITIVE_OR_NULL,
    "ema_decay": Number(above=0, below=1, null=True), "alignment.temperature": POSITIVE_OR_NULL,
    "image_side.temperature": POSITIVE_OR_NULL, "decoding.temperature": POSITIVE_OR_NULL,
    "decoding.top_p": Number(above=0, most=1, null=True), "repetition_penalty": POSITIVE,
    "length_penalty": Number(null=True), "clip_weight": NOT_NEGATIVE_OR_NULL, "consensus_weight": NOT_NEGATIVE_OR_NULL,
    "consensus_captions": COUNT_OR_NULL, "consensus_temperature": POSITIVE_OR_NULL,
    "guidance_scale": NOT_NEGATIVE_OR_NULL, "gamma": NOT_NEGATIVE_OR_NULL, "cone_offset": NOT_NEGATIVE_OR_NULL,
    "max_unreadable_fraction": SHARE, "max_captions": COUNT_OR_NULL, "unfaithfulness": SHARE, "missing_object": SHARE,
    "extra_object": SHARE, "wrong_*": SHARE, "distorted_object": SHARE, "blurred_object": SHARE,
    "painter.image_size": Number(whole=True, least=32), "painter.keep": Number(above=0, most=1),
    "painter.height": COUNT_OR_NULL, "painter.width": COUNT_OR_NULL,
    "alpha": Number(above=0, most=1), "label_smoothing": BELOW_1,
    "mixup.pairs": FROM_0, "clip_weight_scale": POSITIVE_OR_NULL, "clip_value": POSITIVE_OR_NULL,
    "time_shift": POSITIVE, "time_mean": Number(), "time_std": POSITIVE,
    "noise_share": SHARE, "samples": FROM_0, "drop_condition": SHARE,
    "mixup.temperature": POSITIVE, "*_dropout": BELOW_1,
    "dropout": BELOW_1, "input_dropout": BELOW_1, "*_pdrop": BELOW_1,
    "init_logit_scale": Number(), "offset": Number(),
    "vocabulary.count": COUNT_OR_NULL, "mask_share": SHARE, "parts.source.threshold": SHARE, "merge_above": SHARE,
    "parts.source.temperature": POSITIVE, "parts.source.least": COUNT_OR_NULL,
    "port": Number(whole=True, least=0, most=65_535),
    "parts.source.deviations": NOT_NEGATIVE_OR_NULL, "parts.retrieval.noise_std": NOT_NEGATIVE,
}  # fmt: skip
# Lists by what they hold, where the default's own items do not say it.
LISTS = {
    "seeds": FROM_0, "few_captions": POSITIVE, "few_pairs": POSITIVE,
    "temperatures": POSITIVE, "sweeps.steps": COUNT, "neighbours": COUNT,
    "ridges": NOT_NEGATIVE, "multipliers": COUNT, "betas": BELOW_1, "std": POSITIVE, "mean": Number(),
    "variants.*.captioner": str, "variants.*.ddpm": str, "variants.*.pcm_net": str, "variants.*.training": str,
    "dataset.texts.*": str, "dataset.extra_text": str, "classes": str, "templates": str, "sweep": str, "options": str,
    "alignments": str, "checkpoints": str, "text_splits": str, "guidance_scales": NOT_NEGATIVE,
    "memory.probes": COUNT, "network.attention": bool, "lora.target_modules": str, "mirror_words": str,
}  # fmt: skip
# Lists whose items make rows, or are averaged or chosen from: a second one of a kind would count twice.
EACH_ONCE = (
    "alignments", "checkpoint", "checkpoints", "classes", "decodings", "directions", "drawing.solver_steps",
    "evaluation_seeds", "few_captions", "few_pairs", "guidance_scales", "memory.probes", "methods", "metrics",
    "neighbours", "oracles", "painters", "photos", "published", "ridges", "rows", "seeds", "sweep", "sweeps.*",
    "temperatures", "templates", "test_on", "text_splits", "translation.steps", "tried", "tune.*", "unit_rows",
    "upper_bounds", "what", "dataset.extra_text", "dataset.texts.*",
)  # fmt: skip
LISTS_OF_NAMES_OR_PARTS = ("alignment.steps", "prefix")
LISTS_OR_NULL = (
    "classes",
    "guidance_scales",
    "lora.target_modules",
    "mirror_words",
    "text_splits",
    "dataset.extra_text",
    "dataset.texts.*",
    "dataset.downloads",
)
NEVER_EMPTY = ("output_dir", "runs_dir", "name", "to")  # null would be a folder called None, and '' the working folder
LISTS_OR_FILES = ("classes", "templates")  # a file has one entry a line
# Groups of options that may hold others than their defaults: what reads them knows which, and refuses the rest.
OPEN = (
    "variants", "tries", "sweeps", "image_side", "decoder.config", "decoder.mapper", "decoder.tokenizer",
    "dataset.annotations", "dataset.images", "dataset.texts", "model.vision_cfg", "model.text_cfg", "model.preprocess",
    "model.sound", "encoder.sound", "dataset.phrases",
)  # fmt: skip
ONE_OR_LIST = (
    "dataset.text_key",
    "dataset.extra_text",
    "decoder.lora.target_modules",
)  # what reads them takes one for a list of one itself
MAYBE_NULL = (  # parts that may be none
    "decoder.config", "decoder.lora", "dataset.images", "dataset.annotations",
    "parts.source", "parts.prompt", "parts.retrieval",
)  # fmt: skip
ONE_OR_PARTS = ("dataset.annotations", "dataset.images")  # one name for all, or one for each split
# Options of what the group chooses that no file of it has, and groups any of whose files' options may be added.
BESIDE = {
    "encoder": (
        "device",
        "sha256",
        "sound",
        "of.kind",
        "of.heads",
        "image_tower.resize",
        "image_tower.sha256",
        "text_tower.sha256",
    ),
    "decoding": (),
    "dataset": (),
}


def entry(table: dict | tuple, option: str):
    """What the table has for an option, by the longest of its patterns; None where it has nothing."""
    fits = [pattern for pattern in table if fnmatchcase(f".{option}", f"*.{pattern}")]
    if not fits:
        return None
    best = max(fits, key=lambda pattern: (pattern.count("."), len(pattern)))
    return table[best] if isinstance(table, dict) else best
