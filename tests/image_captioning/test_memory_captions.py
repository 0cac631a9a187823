"""The captions of a text memory beside a checkpoint: written, read, refused."""

from __future__ import annotations

import pytest
import torch

from alignment.chain import Alignment
from evaluation.captions.training_text import TrainingSource
from image_captioning.alignments import STEPS
from image_captioning.consensus import Consensus, ConsensusMemory
from image_captioning.generation import Decoding
from image_captioning.memory_captions import FILE, consensus_memory, save_memory_captions, write_captions

CHAIN = ["Normalize", "Center", "Normalize", {"step": "TextMemory", "temperature": 0.03}, "Normalize"]


@pytest.fixture
def store(make_store):
    return make_store(dim=8)


@pytest.fixture
def captioner(make_captioner, store, tmp_path):
    def with_chain(*entries):
        steps = [{"step": entry} if isinstance(entry, str) else entry for entry in entries]
        made = make_captioner().with_alignment(Alignment.from_store(steps, STEPS, store))
        made.folder = tmp_path
        return made

    return with_chain


def test_captions_beside_a_checkpoint_are_those_of_the_store(captioner, store, tmp_path):
    model, training = captioner(*CHAIN), TrainingSource(store, store.text_split)
    assert consensus_memory(model, None) is None
    save_memory_captions(model, training, tmp_path)
    first = (tmp_path / FILE).read_bytes()
    save_memory_captions(model, training, tmp_path)
    assert (tmp_path / FILE).read_bytes() == first  # the same bytes at any time
    read = consensus_memory(model, None)
    assert read is not None
    images = store.images("test")[:4]
    hypotheses = ["a dog", "one bird", "two cats", "a boat", *store.captions("test")[:4]]
    from_file = Consensus(read(), images, 5, 0.1).scores(hypotheses, 0, 2)
    from_store = Consensus(ConsensusMemory.from_store(store, store.text_split), images, 5, 0.1).scores(hypotheses, 0, 2)
    assert torch.allclose(from_file, from_store, atol=1e-5)
    decoding = Decoding("beam", beams=3, max_new_tokens=6, consensus_weight=50.0)
    for precision in ("fp32", "bf16"):
        assert len(model.caption_images(images, decoding, progress=False, precision=precision, memory=read)) == 4


def test_part_of_a_memory_has_its_own_captions(captioner, store, tmp_path):
    chain = [*CHAIN[:3], {"step": "TextMemory", "temperature": 0.03, "memory_rows": 7}, "Normalize"]
    model = captioner(*chain)
    save_memory_captions(model, TrainingSource(store, store.text_split), tmp_path)
    read = consensus_memory(model, None)
    assert read is not None and len(read().rows) == 7


def test_other_captions_are_refused(captioner, store, make_store, tmp_path):
    with pytest.raises(ValueError, match="no text memory"):
        save_memory_captions(captioner("Normalize"), TrainingSource(store, store.text_split), tmp_path)
    model = captioner(*CHAIN)
    with pytest.raises(ValueError, match="not known: elsewhere"):
        save_memory_captions(model, TrainingSource(unavailable="elsewhere"), tmp_path)
    with pytest.raises(ValueError, match="does not hold the captions of the captioner's memory"):
        save_memory_captions(model, TrainingSource(store, "test"), tmp_path)
    write_captions(tmp_path, ["a dog"])
    read = consensus_memory(model, None)
    assert read is not None
    with pytest.raises(ValueError, match=f"{FILE} does not hold the .* captions of this captioner's text memory"):
        read()
