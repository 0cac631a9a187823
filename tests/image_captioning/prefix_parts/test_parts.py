"""Prefix parts: both sides, their way into a checkpoint, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alignment.chain import Alignment
from alignment.memory import TextMemory
from common.randomness import seeded_normal
from image_captioning.alignments import STEPS
from image_captioning.data import CaptionTokens
from image_captioning.prefix_parts import parts as room
from image_captioning.prefix_parts.build import check_parts, make_parts, make_vocabulary
from image_captioning.prefix_parts.examples import PartExamples, near_captions, same_text
from image_captioning.prefix_parts.parts import PrefixParts, RetrievalOptions
from image_captioning.selection import CaptionSelection
from image_captioning.task import Examples
from image_captioning.tokenizer import train_tokenizer
from training.batches import StepRandom

CPU = torch.device("cpu")
METHODS = ("viecap", "ifcap", "meacap")


def examples_of(store, parts, rows=None) -> PartExamples:
    rows = torch.arange(len(store.captions("train"))) if rows is None else rows
    selection = CaptionSelection(store, "train", rows)
    tokens = CaptionTokens.encode(selection.captions(), train_tokenizer(selection.captions()), 20)
    return PartExamples.load(Examples(selection.texts(), tokens), selection, parts, 0, 7)


@pytest.mark.parametrize("method", METHODS)
def test_an_images_inputs_do_not_depend_on_the_others_and_are_the_same_after_loading(
    make_store, built, method, monkeypatch
):
    store = make_store()
    parts, images = built(method, store), store.images("test")
    inputs = parts.inputs(-images, images, CPU)
    assert inputs.rows is not images and torch.equal(inputs.rows, -images) and inputs.words.shape == (40, 10)
    assert (inputs.words >= 0).any(1).float().mean() > 0.5 and inputs.words.max() < len(parts.names)
    monkeypatch.setattr(room, "IMAGES_AT_ONCE", 7)
    loaded = PrefixParts(**parts.options())
    loaded.load_state_dict(parts.state_dict())
    loaded.restore()
    again = loaded.inputs(-images, images, CPU)
    assert torch.equal(again.words, inputs.words)
    if method == "ifcap":
        torch.testing.assert_close(again.neighbors, inputs.neighbors)
    halved = parts.self_contained().inputs(-images, images, CPU)  # float16 may change the order of like captions
    assert (halved.words == inputs.words).float().mean() > 0.9
    part = inputs[torch.tensor([3, 1])].to(CPU)
    assert len(part) == 2 and torch.equal(part.words, inputs.words[[3, 1]])
    assert (part.neighbors is None) == (method != "ifcap")


def test_without_a_gap_most_words_are_right(make_store, built):
    store = make_store()
    texts = store.texts("test")[::2]
    for method in METHODS:
        parts = built(method, store)
        words = parts.inputs(texts, texts, CPU).words
        named = [
            parts.names[word] in caption.split()
            for caption, row in zip(store.captions("test")[::2], words.tolist(), strict=True)
            for word in row
            if word >= 0
        ]
        assert np.mean(named) > 0.5, method  # of nouns drawn at random less than 0.25


def test_a_caption_is_never_near_itself_or_its_copies(make_store, built):
    store = make_store()
    parts = built("ifcap", store)
    captions = store.captions("train")
    assert len(set(captions)) < len(captions)  # there are copies
    examples = examples_of(store, parts)
    assert examples.neighbors.shape == (200, 3)
    for caption, near in zip(captions, examples.neighbors.tolist(), strict=True):
        assert caption not in [captions[number] for number in near] and len(set(near)) == 3
    some = examples_of(store, parts, torch.tensor([5, 60]))
    assert all(captions[5] != captions[number] for number in some.neighbors[0].tolist())
    groups = same_text(["A dog!", "a cat"], ["a dog", "a cat", "a dog"])
    assert groups[0].tolist() == [groups[1][0].item(), groups[1][1].item()] and groups[1][0] == groups[1][2]


def test_near_captions_equal_a_slow_search_with_the_same_noise(make_store, built):
    store = make_store()
    memory, captions = built("ifcap", store).memory, store.captions("train")
    options, groups = RetrievalOptions(neighbors=4, noise_std=0.1), same_text(captions, captions)
    near = near_captions(store.texts("train"), memory, options, groups, seeded_normal("cpu", 1))
    rows = F.normalize(store.texts("train"), dim=-1)
    noised = F.normalize(rows + 0.1 * seeded_normal("cpu", 1)(rows), dim=-1)
    for number in range(0, 200, 17):
        similarities = [
            -torch.inf if caption == captions[number] else float(noised[number] @ row)
            for caption, row in zip(captions, rows, strict=True)
        ]
        best = sorted(range(200), key=lambda row: -similarities[row])[:4]
        assert [similarities[row] for row in near[number]] == pytest.approx([similarities[row] for row in best])
    again, other = (near_captions(rows, memory, options, groups, seeded_normal("cpu", seed)) for seed in (1, 2))
    assert torch.equal(near, again) and not torch.equal(near, other)


def test_training_inputs_come_from_the_steps_random_numbers(make_store, built):
    store = make_store()
    parts = built("ifcap", store)
    examples, numbers = examples_of(store, parts), torch.arange(50)
    alignment = Alignment.from_options([{"step": "GaussianNoise", "noise_std": 0.1}, {"step": "Normalize"}], STEPS)
    first, again, other = (examples.inputs(alignment, numbers, seeded_normal("cpu", seed)) for seed in (1, 1, 2))
    assert torch.equal(first.words, again.words) and torch.equal(first.rows, again.rows)
    assert not torch.equal(first.words, other.words) and torch.equal(first.neighbors, other.neighbors)
    assert torch.equal(first.neighbors, parts.memory.rows[examples.neighbors[:50]])
    for caption, words in zip(store.captions("train"), first.words.tolist(), strict=False):
        assert {parts.names[word] for word in words if word >= 0} <= set(caption.split())


def test_two_processes_read_what_one_does(make_store, built):
    store = make_store()
    examples = examples_of(store, built("ifcap", store))
    alignment = Alignment.from_options([{"step": "GaussianNoise", "noise_std": 0.1}, {"step": "Normalize"}], STEPS)

    def inputs(rows: slice):
        return examples.inputs(alignment, torch.arange(8)[rows], StepRandom(0, 3, 8, rows).normal_like)

    whole, halves = inputs(slice(0, 8)), [inputs(slice(0, 4)), inputs(slice(4, 8))]
    for name in ("rows", "words", "neighbors"):
        assert torch.equal(torch.cat([getattr(half, name) for half in halves]), getattr(whole, name))


def test_without_a_prompt_there_are_captions_alone_and_no_vocabulary(make_store, built):
    store = make_store()
    parts = built("ifcap", store, prompt=None, source=None)
    assert parts.names == [] and parts.prompt is None and parts.prompt_length == 0
    inputs = parts.inputs(store.images("test"), store.images("test"), CPU)
    assert inputs.words is None and inputs.neighbors.shape == (40, 3, 16)
    assert examples_of(store, parts).words is None


def test_images_of_another_space_are_refused(make_store, built):
    store = make_store()
    with pytest.raises(ValueError, match=r"of 16 dimensions .* shape \(3, 24\): its prefix parts need images in"):
        built("viecap", store).inputs(torch.randn(3, 16), torch.randn(3, 24), CPU)


@pytest.mark.parametrize(
    ("method", "changed", "sentence"),
    [
        ("viecap", {"words": 3}, r"no option parts\.words; known: vocabulary, prompt"),
        ("viecap", {"prompt": None}, r"parts\.prompt and parts\.source go together"),
        ("viecap", {"prompt": {"mask_share": 2.0}}, r"parts\.prompt\.mask_share=2\.0"),
        ("viecap", {"vocabulary": {"count": 0}}, r"parts\.vocabulary\.count=0"),
        ("viecap", {"source": {"kind": "similar", "top": "3"}}, r"parts\.source\.top='3'"),
        ("ifcap", {"retrieval": {"neighbors": 0}}, r"parts\.retrieval\.neighbors=0"),
        ("ifcap", {"retrieval": None}, "kind=fusion looks at near captions, and there are none"),
    ],
)
def test_bad_options_are_refused_before_anything_is_read(part_options, method, changed, sentence):
    mapper = {"kind": "fusion" if method == "ifcap" else "mlp"}
    check_parts(part_options(method), mapper, ["text", "text"])
    check_parts({}, {"kind": "mlp"}, ["pairs"])
    with pytest.raises(ValueError, match=sentence):
        check_parts(part_options(method, **changed), mapper, ["text"])
    with pytest.raises(ValueError, match="set train_on and validate_on to text, not pairs"):
        check_parts(part_options(method), mapper, ["text", "pairs"])


def test_bad_vocabularies_and_too_many_captions_are_refused(make_store, built, part_options, tmp_path):
    store = make_store()
    captions, other = store.captions("train"), tmp_path / "other.npz"
    np.savez(other, names=np.array(["dog"]), embeddings=np.ones((1, 24), np.float32))
    for method in METHODS:
        with pytest.raises(ValueError, match="concepts of 24 dimensions, and the embeddings here have 16"):
            make_vocabulary(part_options(method, vocabulary={"file": str(other)}), captions, store)
    options = part_options("ifcap", vocabulary={})
    assert make_vocabulary(options, ["a dog", "two dogs and cats"], store) == ["dog", "cat"]
    with pytest.raises(
        ValueError, match=r"no nouns to be concepts: give a list of words with parts\.vocabulary\.file="
    ):
        make_vocabulary(options, ["red", "quickly"], store)
    with pytest.raises(ValueError, match=r"knows none of the 2 words of parts\.vocabulary"):
        make_parts(options, ["dog", "cat"], train_tokenizer(["a red"]), store)
    with pytest.raises(ValueError, match=r"parts\.source\.captions=201 is more than the 200 captions to search"):
        built("ifcap", store, source={"kind": "frequent", "captions": 201})
    with pytest.raises(ValueError, match=r"parts\.retrieval\.neighbors=201 is more than the 200"):
        built("ifcap", store, retrieval={"neighbors": 201})
    with pytest.raises(ValueError, match=r"neighbors=199: a caption has only \d+ others, itself and its copies"):
        examples_of(store, built("ifcap", store, retrieval={"neighbors": 199}))


def test_words_that_the_tokenizer_does_not_know_are_left_out(make_store, part_options, capsys):
    store = make_store()
    options = part_options("viecap")
    concepts = make_vocabulary(options, [], store)
    parts = make_parts(options, concepts, train_tokenizer(["a cat and a dog"]), store)
    assert parts.names == ["dog", "cat"] and torch.equal(parts.vocabulary, concepts.rows[:2])
    assert "10 of 12 words are left out" in capsys.readouterr().out


def test_a_large_memory_is_named_and_not_saved(make_store, built, monkeypatch):
    store = make_store()
    monkeypatch.setattr(TextMemory, "MEMORY_SAVED_BYTES", 100)
    parts = built("ifcap", store)
    assert "memory.rows" not in parts.state_dict() and "memory.rows" in parts.self_contained().state_dict()
