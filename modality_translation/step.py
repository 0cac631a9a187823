"""Translation as a step of an alignment: image embeddings become text embeddings for a text-trained decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from alignment.step import Step
from alignment.steps import Normalize
from common.errors import OtherModel
from embedding_space.encoders.identity import is_same_encoder
from modality_translation.translation import Translation, load_translation

DIRECTION = "image_to_text"


class ModalityTranslation(Step):
    """The paper's way to caption (section 5.4): images are translated into the texts' space; texts pass unchanged.

    Unlike other steps it may change the rows' width, from `image_dim` to the texts', and it was trained on pairs.

    Args:
        translation: constructor values of a `Translation` of this direction alone, with the sampling to use;
            `from_store` takes a run folder of modality_translation.train, and changes of its sampling.
    """

    changes_training_rows = False
    uses_pairs = True

    def __init__(self, translation: Mapping):
        super().__init__()
        self.translation = Translation(**translation).eval().requires_grad_(False)
        self.inference_dim = self.translation.dims["images"]
        self.inference_encoder = self.translation.encoders.get("images")

    def train(self, mode: bool = True) -> ModalityTranslation:
        """The translation is finished: no dropout, even while the model that holds this step trains."""
        return super().train(False)

    def inference_side(self, rows):
        return self.translation.translate(rows, DIRECTION)

    def move_encoders(self, move):
        self.translation.encoders = {side: dict(move(encoder)) for side, encoder in self.translation.encoders.items()}
        self.inference_encoder = self.translation.encoders.get("images")

    def options(self):
        return {"translation": self.translation.options(DIRECTION)}

    @classmethod
    def of(cls, translation: Translation, **sampling: Any) -> ModalityTranslation:
        """The step of a trained translation, with the parts that the sampling's `terms` need.

        Raises:
            ValueError: it has no direction image_to_text, or was trained without a part that is needed.
        """
        changed = translation.sampling.changed(sampling)
        step = cls({**translation.options(DIRECTION), "sampling": asdict(changed)})
        model, weights = step.translation.directions[DIRECTION], translation.directions[DIRECTION].state_dict()
        if model.state_dict().keys() - weights.keys():
            raise ValueError(
                f"terms={changed.terms} needs a part that this translation was trained without "
                f"(sampling.terms={translation.sampling.terms}): leave terms out, or train one with sampling.terms=both"
            )
        model.load_state_dict({name: weights[name] for name in model.state_dict()})
        return step

    @classmethod
    def from_store(
        cls,
        store,
        preceding,
        translation: str,
        ddim_steps: int | None = None,
        guidance_scale: float | None = None,
        gamma: float | None = None,
        terms: str | None = None,
    ):
        if [type(step) for step in preceding] != [Normalize]:
            raise ValueError(
                "ModalityTranslation must directly follow one Normalize: it translates the encoder's unit rows. "
                "Correct the list alignment.steps."
            )
        model = load_translation(translation).cpu()
        check_encoder(model, "texts", store.manifest.encoder, f"the store {store.path}", translation)
        return cls.of(model, steps=ddim_steps, guidance_scale=guidance_scale, gamma=gamma, terms=terms)


def check_encoder(translation: Translation, side: str, encoder: Mapping, what: str, folder: str) -> None:
    """Refuse rows of another encoder than the translation was trained with.

    Args:
        side: `images` or `texts`.
        what: the rows' source, for the message.

    Raises:
        ValueError: it is another encoder.
    """
    if not is_same_encoder(ours := translation.encoders[side], encoder):
        raise OtherModel(
            f"The translation in {folder} was trained on {side} of the encoder {ours['name']!r}, but {what} holds "
            f"those of {encoder.get('name')!r}, or of other weights. Give the stores that it was trained on, or for "
            "another translation",
            "modality_translation",
            "image_store=... text_store=...",
        )
