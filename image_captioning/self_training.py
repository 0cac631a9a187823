"""Self-training on images without captions: a trained captioner writes their captions, and a decoder learns from them.

Decodings that ask more than the decoder, such as consensus, write better captions than the decoder by itself. A decoder
that learns from such captions writes nearly as well in plain beam search: sequence-level distillation (Kim and Rush
2016, arXiv 1606.07947, section 3.2), here from images that nobody captioned.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from alignment.chain import Alignment, in_parts
from common.files import write_whole
from common.plain import plain
from common.randomness import drawn_rows
from common.text_files import read_json
from embedding_space.store import EmbeddingStore
from image_captioning.captioner import Captioner
from image_captioning.consensus import ConsensusMemory
from image_captioning.data import CaptionTokens
from image_captioning.generation import Decoding
from image_captioning.task import Examples

FILE = "pseudo_captions.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class UncaptionedImages:
    """The images that a captioner teaches itself with, and how it writes their captions.

    Attributes:
        rows: (N,) int64, increasing, among the split's images.
    """

    store: EmbeddingStore
    split: str
    rows: Tensor
    decoding: Decoding

    @classmethod
    def chosen(cls, config: DictConfig, store: EmbeddingStore) -> UncaptionedImages | None:
        """What `train_on=images` trains on: `train_captions` of the images that the store's image mean is of, drawn by
        seed. None with another `train_on`.

        Raises:
            ValueError: options that do not go together, or a store without such images.
        """
        teacher = OmegaConf.select(config, "teacher")
        if config.train_on != "images":
            if teacher is not None:
                raise ValueError("decoding@teacher=... writes captions for train_on=images alone: leave it out")
            return None
        if config.init_from is None or teacher is None:
            raise ValueError(
                "train_on=images learns from captions that a trained captioner writes: name it with init_from=..., and "
                "how it writes them with decoding@teacher=consensus, beam or another decoding"
            )
        split = store.manifest.image_mean_split
        if split is None:
            raise ValueError(
                f"train_on=images reads the unpaired images that the image mean is of, and {store.path} has none: name "
                "their split with dataset.image_mean_split=... of prepare_data"
            )
        total, count = len(store.tables.image_rows(split)), config.train_captions
        rows = torch.arange(total) if count is None else drawn_rows(total, count, config.seed, 5)
        return cls(store, split, rows, Decoding(**plain(teacher)))

    def __len__(self) -> int:
        return len(self.rows)

    def images(self) -> Tensor:
        """(N, D) raw rows in float32."""
        return self.store.images(self.split)[self.rows].float()

    def provenance(self) -> dict[str, Any]:
        """What a captioner that learns from them records."""
        taught = {"images": len(self), "split": self.split, "decoding": self.decoding.recorded()}
        return {"captions": len(self), "self_training": taught}

    def captions(self, captioner: Captioner, folder: Path, device: torch.device, precision: str) -> list[str]:
        """What the captioner writes in this precision, as `CaptioningModel.caption`. It is kept in a file of `folder`,
        so that an interrupted training does not write it anew."""
        recorded = {
            "captioner": captioner.weights_hash(),
            "alignment": captioner.alignment.hash,
            "store": self.store.hash,
            "split": self.split,
            "images": hashlib.sha256(self.rows.numpy().tobytes()).hexdigest(),
            "decoding": self.decoding.recorded(),
        }
        path = folder / FILE
        if path.is_file() and (content := read_json(path))["written_by"] == recorded:
            return content["captions"]
        memory = partial(ConsensusMemory.from_store, self.store, self.store.text_split)
        images = self.images().to(device)
        captions = captioner.to(device).caption_images(images, self.decoding, precision=precision, memory=memory)
        captioner.cpu()
        write_whole(path, json.dumps({"written_by": recorded, "captions": captions}, ensure_ascii=False, indent=0))
        return captions

    def tokens(self, captions: list[str], tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> CaptionTokens:
        """The captions' tokens; those that never ended are cut, and have no end to learn."""
        if empty := captions.count(""):
            logger.warning("init_from wrote nothing for %d of %d images, and that is learned", empty, len(captions))
        return CaptionTokens.encode(captions, tokenizer, max_tokens, truncate=True, allow_empty=True)

    def examples(self, alignment: Alignment, tokens: CaptionTokens) -> Examples:
        """The images as the inference side gives them, each with its caption, on the tokens' device."""
        images = self.images().to(tokens.lengths.device)
        return Examples(in_parts(alignment.inference_side, images), tokens, aligned=True)
