"""What a captioner has learned from and reads, in the few words of a table's column or a model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignment.chain import Alignment
from alignment.row_memory import RowMemory
from embedding_space.media import Medium
from image_captioning.prefix_parts.rules import make_rule
from image_captioning.provenance import estimated_from_pairs

SELECTED = "selected on pairs"
# What a class calls the pictures that a captioner learned from (`synthetic_images.provenance.Provenance.images`).
_PICTURES = {"synthetic": "synthetic pictures", "unpaired real photos": "unpaired photos"}


def method_class(
    alignment: Alignment,
    provenance: Mapping[str, Any],
    caption_from: str = "images",
    selected: bool = False,
    medium: Medium = "image",
) -> str:
    """What a captioner has learned from and reads, such as `text + text memory + unpaired images`, or `pairs`.

    Unpaired images are read for a mean, too. `selected on pairs` is added where a score against references chose
    weights or settings.

    Args:
        alignment: the chain that images go through.
        provenance: what the training recorded of itself.
        caption_from: `texts` are the captions of the images themselves, which makes it a reader of pairs.
        selected: whether the method's settings were chosen by such scores.
        medium: what the images are.
    """
    estimates, pictures = provenance.get("estimates") or [], provenance.get("images")
    pairs = (
        alignment.uses_pairs
        or caption_from == "texts"
        or provenance.get("train_on") == "pairs"
        or pictures == "real pairs"
        or estimated_from_pairs(provenance)
        or (provenance.get("init_from") or {}).get("uses_pairs", False)
    )
    used = ["pairs" if pairs else "text"]
    taught = provenance.get("self_training") or {}
    reads_captions = searches_captions(provenance) or (taught.get("decoding") or {}).get("consensus_weight")
    if any(isinstance(step, RowMemory) for step in alignment.steps) or reads_captions:
        used.append("text memory")
    if not pairs and pictures:
        used.append(_PICTURES.get(pictures, f"pictures of {pictures} origin"))
    if not pairs and (estimates or taught or any(step.reads_inference_rows for step in alignment.steps)):
        used.append(f"unpaired {medium}s")
    chosen = f", {SELECTED}" if selected or provenance.get("validate_on") == "pairs" else ""
    return (" + ".join(used) if len(used) > 1 or pairs else "text only") + chosen


def searches_captions(provenance: Mapping[str, Any]) -> bool:
    """Whether parts of the prefix search the training captions."""
    parts = provenance.get("prefix_parts") or {}
    return bool(parts.get("retrieval") or (parts.get("source") and make_rule(parts["source"]).captions))
