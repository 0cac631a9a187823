"""What pictures are drawn from: captions through one alignment or another, a translation, or the images themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from alignment.chain import Alignment
from alignment.steps import GaussianNoise, Normalize
from image_captioning.alignments import STEPS
from image_generation.conditions import Conditions
from image_generation.generator import ImageGenerator
from modality_translation.translation import Translation

NETWORK = {"channels": [16, 32], "attention": [False, False], "layers": 1, "head_channels": 16, "patch": 2}
COLLAPSE = [{"step": name} for name in ("Normalize", "Center", "Normalize")]
CAPTIONS = np.array([3, 0, 11])


@pytest.fixture
def images_store(picture_store):
    return type(picture_store)(picture_store.path, training_modality="images")


@pytest.fixture
def generator(images_store) -> ImageGenerator:
    chain = Alignment.from_store(COLLAPSE, STEPS, images_store)
    encoder = images_store.manifest.encoder
    model = ImageGenerator(16, 16, NETWORK, chain.options(), encoder, provenance={"uses_pairs": False})
    model.alignment = chain
    return model


def test_captions_go_through_the_generators_alignment_and_images_through_its_training_side(generator, images_store):
    captions = Conditions().rows(generator, images_store, "val", CAPTIONS)
    torch.testing.assert_close(captions, generator.align(images_store.texts("val")[CAPTIONS]))
    own = Conditions(from_images=True)
    images = images_store.images("val")[torch.from_numpy(images_store.pairs("val")[CAPTIONS])]
    rows = own.rows(generator, images_store, "val", CAPTIONS)
    torch.testing.assert_close(rows, generator.alignment.clean_side(images))
    assert own.facts() == {"from_images": True} and not own.uses_pairs(generator)


def test_a_memory_of_images_may_take_the_alignments_place(generator, images_store):
    entries = [*COLLAPSE, {"step": "TextMemory", "temperature": 0.03, "memory_rows": None}, {"step": "Normalize"}]
    memory = Conditions(alignment=Alignment.from_store(entries, STEPS, images_store))
    rows = memory.rows(generator, images_store, "val", CAPTIONS)
    plain = Conditions().rows(generator, images_store, "val", CAPTIONS)
    nearest = (
        (plain @ generator.alignment.clean_side(images_store.images(images_store.training_split)).T).max(dim=1).values
    )
    assert ((rows * plain).sum(dim=1) > nearest - 0.2).all() and not torch.allclose(rows, plain)
    assert set(memory.facts()) == {"alignment", "alignment_hash"} and not memory.uses_pairs(generator)


def test_a_translation_writes_image_embeddings_and_uses_pairs(generator, images_store):
    translation = Translation(16, 16, {"kind": "mlp", "width": 8, "depth": 1}, provenance={"seed": 0}).eval()
    conditions = Conditions(translation=translation)
    rows = conditions.rows(generator, images_store, "val", CAPTIONS)
    images = translation.translate(images_store.texts("val")[CAPTIONS].float(), "text_to_image")
    torch.testing.assert_close(rows, generator.alignment.clean_side(images))
    assert conditions.uses_pairs(generator) and conditions.facts() == {"translation": {"seed": 0}}


def test_what_does_not_fit_the_generator_is_refused(generator, images_store):
    wide = Translation(8, 16, {"kind": "mlp", "width": 8, "depth": 1})
    noisy = Alignment([Normalize(), GaussianNoise(0.5), Normalize()])
    for conditions, message in (
        (Conditions(from_images=True, translation=wide), "prompts.from_images=true and translation exclude each other"),
        (Conditions(translation=wide), "writes image embeddings of 8 dimensions, and the generator reads 16"),
        (Conditions(alignment=noisy), "does something else in training"),
    ):
        with pytest.raises(ValueError, match=message):
            conditions.rows(generator, images_store, "val", CAPTIONS)
