"""What a method uses: a class for each kind of evidence, and what is counted beside it."""

from __future__ import annotations

from contextlib import ExitStack
from unittest.mock import patch

import pytest
import torch
from torch import nn

from alignment.chain import Alignment
from alignment.covariance_noise import CovarianceNoise
from alignment.memory import TextMemory
from alignment.nearest_texts import NearestTexts
from alignment.noise_across_gap import GaussianNoiseAcrossGap
from alignment.realign import Realign
from alignment.step import Step
from alignment.steps import Center, GaussianNoise, Normalize
from comparison.method_facts import memory_bytes, trained_parameters
from embedding_space.store import EmbeddingStore
from image_captioning.alignments import STEPS
from image_captioning.method_class import method_class

TEXT = {"train_on": "text", "validate_on": "text", "uses_pairs": False}


class FromPairs(Step):
    """A step that learned from pairs."""

    uses_pairs = True


def memory():
    return TextMemory(0.01, rows=3, dim=4)


@pytest.mark.parametrize(
    ("steps", "provenance", "options", "expected"),
    [
        ([], {}, {}, "text only"),
        ([GaussianNoise(0.1)], {}, {}, "text only"),
        ([memory()], {}, {}, "text + text memory"),
        ([NearestTexts(rows=3, dim=4)], {}, {}, "text + text memory"),
        ([], {"prefix_parts": {"retrieval": {"neighbors": 5}}}, {}, "text + text memory"),
        ([], {"prefix_parts": {"source": {"kind": "merged"}}}, {}, "text + text memory"),
        ([], {"prefix_parts": {"source": {"kind": "similar"}, "retrieval": None}}, {}, "text only"),
        ([Center(4)], {}, {}, "text + unpaired images"),
        ([Center(4)], {}, {"medium": "sound"}, "text + unpaired sounds"),
        ([Realign(4)], {}, {}, "text + unpaired images"),
        ([GaussianNoiseAcrossGap(4, 0.1)], {}, {}, "text + unpaired images"),
        ([CovarianceNoise(4, 0.1)], {}, {}, "text + unpaired images"),
        ([], {"estimates": [{"data": "unpaired", "uses_pairs": False}]}, {}, "text + unpaired images"),
        ([Center(4), memory()], {}, {}, "text + text memory + unpaired images"),
        ([], {"train_on": "synthetic", "images": "synthetic"}, {}, "text + synthetic pictures"),
        ([], {"train_on": "synthetic", "images": "unpaired real photos"}, {}, "text + unpaired photos"),
        ([], {"train_on": "synthetic", "images": "unknown"}, {}, "text + pictures of unknown origin"),
        ([Center(4)], {"train_on": "pairs", "validate_on": "pairs"}, {}, "pairs, selected on pairs"),
        ([Center(4)], {"train_on": "pairs"}, {}, "pairs"),
        ([], {"images": "real pairs"}, {}, "pairs"),
        ([FromPairs(), memory()], {}, {}, "pairs + text memory"),
        ([CovarianceNoise(4, 0.1, covariance="pairs")], {}, {}, "pairs"),
        ([], {"estimates": [{"data": "pairs", "uses_pairs": True}]}, {}, "pairs"),
        ([], {"init_from": {"uses_pairs": True}}, {}, "pairs"),
        ([], {"init_from": {"uses_pairs": False}}, {}, "text only"),
        ([], {}, {"caption_from": "texts"}, "pairs"),
        ([], {"validate_on": "pairs", "uses_pairs": True}, {}, "text only, selected on pairs"),
        ([memory()], {}, {"selected": True}, "text + text memory, selected on pairs"),
    ],
)
def test_a_class_names_all_that_a_method_uses(steps, provenance, options, expected):
    assert method_class(Alignment([*steps, Normalize()]), {**TEXT, **provenance}, **options) == expected


def test_every_step_that_reads_the_stores_images_says_so(make_store):
    store = make_store()
    for name, step in STEPS.items():
        if {"diffusion", "translation"} & step.option_names():  # made from a trained model's folder
            continue
        preceding = [Normalize(), Center(16)] if name == "CovarianceNoise" else [Normalize()]
        options = {"noise_std": 0.1} if "noise_std" in step.option_names() else {}
        with ExitStack() as patches:
            reads, means, asked = (
                patches.enter_context(
                    patch.object(EmbeddingStore, of, autospec=True, side_effect=getattr(EmbeddingStore, of))
                )
                for of in ("images", "mean", "has_mean")
            )
            step.from_store(store, preceding, **options)
        of_images = [call for call in (*means.call_args_list, *asked.call_args_list) if "image" in call.args]
        assert bool(reads.called or of_images) == step.reads_inference_rows, name


def test_memories_of_steps_and_of_prefix_parts_are_counted_in_bytes():
    captioner, parts = nn.Module(), nn.Module()
    parts.memory = nn.Module()
    parts.memory.register_buffer("rows", torch.zeros(5, 4, dtype=torch.float16))
    captioner.parts = parts
    chain = Alignment([memory(), NearestTexts(rows=7, dim=4), Center(4), Normalize()])
    assert memory_bytes(nn.Module(), chain) == 4 * (3 * 4 + 7 * 4)
    assert memory_bytes(captioner, chain) == 4 * (3 * 4 + 7 * 4) + 2 * 5 * 4


def test_trained_parameters_are_of_all_trainings_or_unknown():
    assert trained_parameters([{"trained_parameters": 3}, {"trained_parameters": 4}]) == 7
    assert trained_parameters([{"trained_parameters": 3}, {}]) is None
