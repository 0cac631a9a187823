"""Checkpoints that answer: each captioner with its encoder, its methods and the captions of its text memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from common.registry import look_up
from embedding_space.encoders.base import EncodedImages, Encoder
from embedding_space.encoders.load import reload_encoder
from embedding_space.media import NAMES
from image_captioning.captioner import Captioner
from image_captioning.captioning_model import CaptioningModel
from image_captioning.consensus import ConsensusMemory
from image_captioning.generation import Decoding
from image_captioning.inspect_captions import Beam, beams
from image_captioning.memory_captions import consensus_memory
from image_captioning.reranking import Reranker
from web_app.methods import Method, methods_of


@dataclass(frozen=True)
class Answering:
    """A checkpoint that answers.

    Attributes:
        name: of the checkpoint's folder.
        captioner: in evaluation mode.
        encoder: of what it captions and of its texts.
        methods: by name, in order.
        memory: the captions near an image, where the checkpoint has some.
        consensus: how beams are ranked by them.
        precision: of the decoder.
    """

    name: str
    captioner: CaptioningModel
    encoder: Encoder
    methods: Mapping[str, Method]
    memory: ConsensusMemory | None
    consensus: Decoding
    precision: str

    @property
    def about(self) -> str:
        """What it was trained on, in one line."""
        known = self.captioner.provenance
        captions, data = known.get("captions"), known.get("dataset")
        trained = f"{captions:,} captions" if isinstance(captions, int) else "captions"
        alone = "" if known.get("uses_pairs", True) else " alone"
        of = f" of {data}" if data else ""
        return f"trained on {trained}{of}{alone}, as {known.get('alignment', 'its configuration says')}"

    def method(self, name: object) -> Method:
        """A method by its name. Raises ValueError with the known ones."""
        return look_up(name, self.methods, f"method of checkpoint={self.name}", "method")

    @property
    def whole(self) -> Method:
        """The method that the checkpoint was trained for."""
        return next(m for m in self.methods.values() if m.chain is self.captioner.alignment and not m.consensus)

    def inputs(self, encoded: EncodedImages, method: Method) -> Any:
        """What the decoder reads of encoded files by a method."""
        if method.chain is self.captioner.alignment or not isinstance(self.captioner, Captioner):
            return self.captioner.encoded_inputs(encoded)
        return self.captioner.with_alignment(method.chain).encoded_inputs(encoded)

    def captions(self, encoded: EncodedImages, method: Method) -> list[str]:
        """A caption of each encoded file. Raises ValueError as the chain does."""
        inputs = self.inputs(encoded, method)
        if not method.consensus:
            return self.caption_inputs(inputs)
        reranker = self._reranker(encoded)
        return self.captioner.caption(
            inputs, self.consensus, progress=False, precision=self.precision, reranker=reranker
        )

    def caption_inputs(self, inputs: Any) -> list[str]:
        """Captions of N inputs by greedy search."""
        return self.captioner.caption(inputs, progress=False, precision=self.precision)

    def beams(self, inputs: Any) -> list[Beam]:
        """The hypotheses of one input, best first."""
        return beams(self.captioner, inputs, Decoding("beam", beams=self.consensus.beams), self.precision)[0]

    def choose(self, encoded: EncodedImages, hypotheses: list[str], scores: Tensor) -> str:
        """The hypothesis of one encoded file that the captions near it prefer; scores (1, K) are the decoder's."""
        reranker = self._reranker(encoded)
        return hypotheses[0] if reranker is None else reranker.choose(hypotheses, scores, 0)[0]

    def _reranker(self, encoded: EncodedImages) -> Reranker | None:
        memory = self.memory
        return self.captioner.reranker(encoded.rows, self.consensus, self.encoder, memory and (lambda: memory))


@dataclass
class Loader:
    """Loads checkpoints, and each encoder that they share once.

    Attributes:
        load: makes a captioner of a checkpoint.
        consensus: how beams are ranked by captions near the image.
        precision: of the decoders.
        encoder_options: `precision`, `device` and the like, for `reload_encoder`.
    """

    load: Callable[[str], CaptioningModel]
    consensus: Decoding
    precision: str = "fp32"
    encoder_options: Mapping[str, Any] = field(default_factory=dict)
    encoders: dict[str, Encoder] = field(default_factory=dict)

    def __call__(self, checkpoint: str) -> Answering:
        """Load a checkpoint.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged, or its encoder cannot be loaded.
        """
        captioner = self.load(checkpoint)
        encoder = self._encoder(captioner.image_encoder_description)
        captioner.to(encoder.device).eval()
        make = consensus_memory(captioner, None)
        name = Path(checkpoint).name
        alignment = str(captioner.provenance.get("alignment", name))
        methods = methods_of(captioner, alignment, encoder.medium, make is not None)
        by_name = {method.name: method for method in methods}
        return Answering(name, captioner, encoder, by_name, make and make(), self.consensus, self.precision)

    def _encoder(self, description: Mapping[str, Any]) -> Encoder:
        key = json.dumps(description, sort_keys=True)
        if key not in self.encoders:
            self.encoders[key] = reload_encoder(description, **self.encoder_options)
        return self.encoders[key]


def load_all(loader: Loader, checkpoint: str, others: Sequence[str]) -> list[Answering]:
    """The page's checkpoint, and others that answer beside it by their own decoders.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: one is named twice, damaged, or reads another medium than the first.
    """
    first = loader(checkpoint)
    answering = {first.name: first}
    for other in others:
        added = loader(other)
        if added.name in answering:
            raise ValueError(f"checkpoints={list(others)}: two checkpoints are called {added.name}: rename a folder")
        if added.encoder.medium != first.encoder.medium:
            reads, wanted = (NAMES[each.encoder.medium] for each in (added, first))
            raise ValueError(f"checkpoints={list(others)}: {other} reads {reads}, and checkpoint={checkpoint} {wanted}")
        answering[added.name] = added
    return list(answering.values())
