"""CLAP as transformers has it: sounds and sentences in one space."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor
from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

from common.characters import one_line
from common.checks import Positive, checked_options
from common.extras import require
from common.paths import find_local_folder
from embedding_space.encoders.base import Encoder
from embedding_space.encoders.weights import hash_weights
from embedding_space.media import Medium
from embedding_space.sounds import Crop, Short, fill, read_sound

SHORT: dict[str, Short] = {"repeat": "repeat", "repeatpad": "repeat_pad", "pad": "pad"}  # by the extractor's words


class LoadClap:
    """A sound file as CLAP's feature extractor makes it one.

    Args:
        extractor: the model's.
        fused: whether the model takes four views of a sound.
        seconds, crop: of the sound that is read (`read_sound`).
        short: what follows a sound that is shorter than the extractor's length (`fill`).
    """

    def __init__(self, extractor: ClapFeatureExtractor, fused: bool, seconds: float, crop: Crop, short: Short):
        self.extractor, self.fused, self.seconds = extractor, fused, seconds
        self.crop: Crop = crop
        self.short: Short = short

    def __call__(self, path: Path) -> Tensor:
        """A file -> (V, T, mels), V = 4 views of a fused model, else 1. Raises as `read_sound`."""
        rate, samples = self.extractor.sampling_rate, self.extractor.nb_max_samples
        waveform = read_sound(path, rate, self.seconds, self.crop)
        if len(waveform) < samples:
            waveform = fill(waveform, samples, self.short)
        truncation = "fusion" if self.fused else "rand_trunc"
        with _same_draw():
            features = self.extractor(waveform, truncation=truncation, sampling_rate=rate, return_tensors="pt")
        return features["input_features"][0].float()


@contextmanager
def _same_draw() -> Iterator[None]:
    """A fused model's extractor draws the places of three views from NumPy's generator: here the same ones always."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


class ClapEncoder(Encoder):
    """Both towers of a CLAP model (LAION's, arXiv 2211.06687), by its name on the Hugging Face hub or from a folder.

    A fused model takes four views of a sound that is longer than its extractor's 10 seconds: all of it, shrunk, and
    three parts (section 3.3 there). They are the same parts at each encoding.

    Args:
        name: the encoder's short name; its stores' folder name.
        model: "laion/clap-htsat-fused", "laion/clap-htsat-unfused", another name, or a local folder.
        seconds: the most that is read of a sound; null: what the extractor takes. More is for fused models alone.
        crop: where longer sounds are read from: "start" or "middle".
        short: what follows shorter sounds (`embedding_space.sounds.fill`); null: as the extractor has it.
        options: those of `Encoder`.

    Attributes:
        description: `name`, `kind`, `model`, `precision`, `seconds`, `crop`, `short`, and the weights' `sha256`.

    Raises:
        ValueError: an option is out of range, or the model cannot be loaded as requested.
        ImportError: PyAV is not installed.
    """

    medium: Medium = "sound"

    @checked_options("encoder.")
    def __init__(
        self,
        name: str,
        model: str,
        seconds: Positive | None = None,
        crop: Crop = "middle",
        short: Short | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        require("av")
        located, choice = find_local_folder(model), f"encoder.model={model}"
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(located)
            self.extractor = ClapFeatureExtractor.from_pretrained(located)
            loaded, info = cast(Any, ClapModel.from_pretrained(located, output_loading_info=True))
        except Exception as error:  # no network, a damaged folder, another architecture: one sentence for all
            raise ValueError(f"{choice} cannot be loaded as a CLAP model: {one_line(error)}") from error
        if missing := sorted(info["missing_keys"]):
            raise ValueError(f"{choice} lacks {len(missing)} weights of its architecture, {missing[0]} among them")
        self.model: Any = loaded.float().to(self.device).eval().requires_grad_(False)
        self.fused: bool = self.model.config.audio_config.enable_fusion
        longest = self.extractor.max_length_s
        seconds = float(longest if seconds is None else seconds)
        if seconds > longest and not self.fused:
            raise ValueError(
                f"encoder.seconds={seconds:g} is more than the {longest} that {choice} takes, for it is no fused model"
            )
        limit = self.model.config.text_config.max_position_embeddings - self.tokenizer.pad_token_id - 1
        self.max_tokens: int = min(self.tokenizer.model_max_length, limit)
        self.seconds = seconds
        self.crop: Crop = crop
        self.short: Short = short or SHORT[self.extractor.padding]
        self.dims = dict.fromkeys(("images", "texts"), self.model.config.projection_dim)
        self.description = {
            "name": name,
            "kind": "clap",
            "model": model,
            "precision": self.precision,
            "seconds": self.seconds,
            "crop": self.crop,
            "short": self.short,
            "sha256": hash_weights(self.model),
        }

    @property
    def load(self) -> Callable[[Path], Tensor]:
        return LoadClap(self.extractor, self.fused, self.seconds, self.crop, self.short)

    def image_features(self, pictures: Tensor) -> Tensor:
        """(B, V, T, mels) -> (B, D)."""
        # The views of a sound that is not longer than the extractor's length are one and the same.
        longer = (pictures[:, 1:] != pictures[:, :1]).flatten(1).any(dim=1, keepdim=True)
        return _pooled(self.model.get_audio_features(input_features=pictures, is_longer=longer))

    def text_features(self, sentences: list[str]) -> Tensor:
        tokens = self.tokenizer(
            sentences, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self.device)
        return _pooled(self.model.get_text_features(tokens["input_ids"], attention_mask=tokens["attention_mask"]))

    def cut_texts(self, texts: Sequence[str]) -> int:
        ids = self.tokenizer(list(texts), verbose=False)["input_ids"] if texts else []
        return sum(len(tokens) > self.max_tokens for tokens in ids)


def _pooled(output: Any) -> Tensor:
    """(B, D): transformers 5 has it in an output, 4 gives it itself."""
    return output if isinstance(output, Tensor) else output.pooler_output
