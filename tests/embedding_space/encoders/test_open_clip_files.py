"""open_clip checkpoints as training code wraps them, and texts that are longer than the text tower takes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from embedding_space.encoders.open_clip_encoder import OpenClipEncoder
from embedding_space.tables import write_tables
from embedding_space.write_store import write_store

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture(scope="module")
def tiny(tiny_models) -> OpenClipEncoder:
    return OpenClipEncoder("made", "tiny-quickgelu", "random", device="cpu")


WRAPPED = {
    "compiled": lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
    "parallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "parallel and compiled": lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()},
    "under model": lambda state: {"model": state, "epoch": 3, "optimizer": {"state": {}}},
    "under state_dict, parallel": lambda state: {"state_dict": WRAPPED["parallel"](state), "name": "mine"},
    "under model, in Lightning": lambda state: {"model": {f"model.{name}": value for name, value in state.items()}},
    "plain": lambda state: state,
}


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_what_training_code_wraps_around_weights_is_taken_off(tmp_path, tiny, wrap, ending):
    state, file = wrap(tiny.model.state_dict()), tmp_path / f"weights.{ending}"
    if ending == "pt":
        torch.save(state, file)
    elif {"model", "state_dict"} & set(state):
        return  # safetensors hold tensors alone
    else:
        save_file(state, file)
    loaded = OpenClipEncoder("file", "tiny-quickgelu", str(file), device="cpu")
    assert torch.equal(loaded.encode_texts(["a photo"]), tiny.encode_texts(["a photo"]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (nn.Linear(2, 2), r"holds more than weights \(a torch\.nn\.modules\.linear\.Linear\)"),
        ({"model": nn.Linear(2, 2), "epoch": 1}, r"holds more than weights"),
        ({"epoch": 1, "loss": 0.5}, r"has the keys 'epoch', 'loss' and no weights under state_dict, .*model"),
        ([1, 2], "has a list and no weights"),
        ({"other.weight": torch.ones(2)}, "Missing key"),
        (b"no checkpoint", "is damaged or no checkpoint"),
    ],
)
def test_what_holds_no_plain_weights_is_refused_with_the_remedy(tmp_path, content, words):
    file = tmp_path / "mine.pt"
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(ValueError, match=rf"encoder\.pretrained=.*mine\.pt cannot be loaded: .*{words}") as caught:
        OpenClipEncoder("file", "tiny-quickgelu", str(file), device="cpu")
    assert "\n" not in str(caught.value)
    if "weights" in words:
        assert "torch.save(model.state_dict(), FILE)" in str(caught.value)


@given(texts=st.lists(st.text(max_size=12) | st.sampled_from(["runs " * n for n in (74, 75, 76, 90)]), max_size=4))
@settings(max_examples=60, deadline=None)
def test_texts_are_counted_as_cut_where_more_tokens_would_say_more(tiny, texts):
    longer = tiny.tokenizer(texts, context_length=200) if texts else torch.empty(0, 200)
    assert tiny.cut_texts(texts) == sum((row != 0).sum().item() > 77 for row in longer)


@pytest.mark.parametrize("text", ["a " * 76, "é" * 76, "&amp; " * 76, "🐕" * 76, "12345 " * 16])
def test_whatever_the_text_is_made_of_its_tokens_count(tiny, text):
    assert tiny.cut_texts([text, "a dog"]) == 1
    assert tiny.unknown_words("a quasar") == []  # its pieces of words are all bytes
    assert tiny.cut_texts([text[: len(text) // 8]]) == 0


@pytest.mark.parametrize("mode", ["", "clips"])
def test_tokenizers_of_transformers_are_counted_by_their_own_tokens(tiny, monkeypatch, mode):
    class Words:
        """As open_clip wraps a tokenizer of transformers: the words, and one token on either side."""

        context_length, tokenizer_mode, clean_fn = 7, mode, staticmethod(str.strip)

        def tokenizer(self, texts, add_special_tokens, truncation, verbose):
            assert not truncation
            return {"input_ids": [[0] * (len(text.split()) + 2 * add_special_tokens) for text in texts]}

    monkeypatch.setattr(tiny, "tokenizer", Words())
    room = 4 if mode else 5
    assert tiny.cut_texts(["word " * room, "word " * (room + 1), " " * 30, ""]) == 1


def test_a_stores_manifest_counts_the_texts_that_were_cut_and_its_readers_are_told(tmp_path, tiny, caplog):
    same = "a dog " + "runs " * 90
    texts = [same + "left", same + "right", "a cat"]
    captions = [{"caption_id": str(n), "image_row": None, "caption": t, "split": "train"} for n, t in enumerate(texts)]
    write_tables(tmp_path / "data", [], captions)
    store = write_store(tmp_path / "data", tiny, "tiny", image_mean_split=None)
    assert store.manifest.cut_texts == 2 and torch.equal(store.texts("train")[0], store.texts("train")[1])
    assert "has 2 texts that are longer than its encoder takes" in caplog.text
    tiny.warn_of_cut(texts, "prompts")
    assert "2 of 3 prompts are longer than the encoder made takes" in caplog.text
