"""A pretrained GPT-2 as the Hub has it, written offline: tokenizer rules, training, memory saving, freezing, errors."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

from alignment.chain import Alignment
from alignment.steps import Normalize
from image_captioning.build import build_captioner
from image_captioning.captioner import Captioner
from image_captioning.data import CaptionTokens
from image_captioning.tokenizer import END, load_tokenizer
from image_captioning.training_run import train

CAPTIONS = ["A dog on a beach.", "two cats, and a boat", "a red car near the old house", "one bird"]


@pytest.fixture
def gpt2_folder(tmp_path):
    """GPT-2's architecture at random weights and its kind of tokenizer, in the files that the Hub's `gpt2` has."""
    folder = tmp_path / "gpt2"
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(CAPTIONS * 3, vocab_size=300, min_frequency=1, special_tokens=[END])
    config = GPT2Config(
        vocab_size=bpe.get_vocab_size(), n_embd=32, n_layer=2, n_head=2, n_positions=64,
        bos_token_id=bpe.token_to_id(END), eos_token_id=bpe.token_to_id(END),
    )  # fmt: skip
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    bpe.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1024}')  # all that the Hub's says
    return folder


@pytest.fixture
def make(gpt2_folder):
    def captioner() -> Captioner:
        torch.manual_seed(0)
        return build_captioner(
            dim=8, alignment=Alignment([Normalize()]), tokenizer=load_tokenizer(gpt2_folder),
            mapper={"kind": "mlp", "prefix_length": 10}, encoder={}, provenance={}, pretrained=str(gpt2_folder),
        )  # fmt: skip

    return captioner


@pytest.fixture
def config(compose, make_store, tmp_path, gpt2_folder):
    store = make_store()

    def made(*overrides: str):
        place = [f"store={store.path}", f"output_dir={tmp_path / 'run'}", f"decoder.pretrained={gpt2_folder}"]
        small = ["alignment=c3", "decoder=gpt2", "loop.batch_size=20", "loop.warmup_steps=0", "validation_captions=20"]
        return compose("image_captioning", *small, *place, "loop.steps=3", *overrides)

    return made


def rows(count: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(1)), dim=-1)


def test_the_hubs_tokenizer_ends_and_pads_with_the_end_token(gpt2_folder):
    tokenizer = load_tokenizer(gpt2_folder)
    assert (tokenizer.eos_token, tokenizer.pad_token) == (END, END)
    data = CaptionTokens.encode([*CAPTIONS[:-1], " one\n bird "], tokenizer, 64)
    tokens, mask = data.batch(torch.arange(4))
    for row, caption in enumerate(CAPTIONS):
        assert tokens[row][mask[row]].tolist() == [*tokenizer(caption).input_ids, tokenizer.eos_token_id]
        assert tokenizer.decode(tokens[row], skip_special_tokens=True) == caption
        assert (tokens[row][~mask[row]] == tokenizer.eos_token_id).all()
    tokenizer.save_pretrained(gpt2_folder.parent / "again")
    assert load_tokenizer(gpt2_folder.parent / "again")(CAPTIONS).input_ids == tokenizer(CAPTIONS).input_ids


def test_loss_is_transformers_own_with_the_true_end_learned_and_padding_masked(make):
    captioner = make().eval()
    tokens, mask = CaptionTokens.encode(CAPTIONS, captioner.tokenizer, 64).batch(torch.arange(4))
    prefix = captioner.mapper(rows(4))
    inputs = torch.cat([prefix, captioner.decoder.transformer.wte(tokens)], dim=1)
    attention = torch.cat([torch.ones(4, 10, dtype=torch.bool), mask], dim=1).long()
    labels = torch.cat([torch.full((4, 10), -100), tokens.masked_fill(~mask, -100)], dim=1)
    assert ((labels == captioner.tokenizer.eos_token_id).sum(1) == 1).all()
    expected = captioner.decoder(inputs_embeds=inputs, attention_mask=attention, labels=labels).loss
    torch.testing.assert_close(captioner(rows(4), tokens, mask).sum() / mask.sum(), expected)


def test_it_is_fine_tuned_whole_by_its_folder_and_captions_from_the_run(config, gpt2_folder, tmp_path):
    figures = train(config("loop.precision=bf16", "loop.learning_rate=1e-3"))
    assert figures["text_loss"] > 0
    captioner = Captioner.load(tmp_path / "run")
    assert len(captioner.caption_images(torch.randn(3, 16), progress=False)) == 3
    assert captioner.decoder.config.resid_pdrop == 0.1  # GPT-2's own dropout
    before = load_file(gpt2_folder / "model.safetensors")["transformer.h.0.mlp.c_fc.weight"]
    assert not torch.equal(captioner.decoder.transformer.h[0].mlp.c_fc.weight, before)


def test_a_frozen_decoder_stays_as_it_is_and_the_mapper_learns(config, gpt2_folder, tmp_path):
    made = ("decoder.train_decoder=false", "decoder.mapper.kind=transformer", "+decoder.mapper.layers=1")
    for steps in (1, 3):
        train(config(*made, "loop.weight_decay=0.1", f"loop.steps={steps}", f"output_dir={tmp_path / str(steps)}"))
    first, last = (Captioner.load(tmp_path / name) for name in ("1", "3"))
    before, after = load_file(gpt2_folder / "model.safetensors"), last.decoder.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    learned = last.mapper.state_dict()
    assert not any(torch.equal(learned[name], value) for name, value in first.mapper.state_dict().items())


def test_a_frozen_decoder_has_no_dropout(make):
    captioner = make()
    captioner.decoder.requires_grad_(False)
    assert not captioner.train().decoder.training and captioner.mapper.training
    assert [name for name, p in captioner.named_parameters() if p.requires_grad] == [
        name for name, _ in captioner.named_parameters() if name.startswith("mapper")
    ]


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_gradient_checkpointing_gives_the_same_gradients(make, precision):
    def gradients(checkpointed: bool):
        captioner = make().train()
        if checkpointed:
            captioner.checkpoint_gradients()
        batch = CaptionTokens.encode(CAPTIONS, captioner.tokenizer, 64).batch(torch.arange(4))
        calls = []
        captioner.decoder.transformer.h[1].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
        torch.manual_seed(3)  # dropout: the second forward pass must draw what the first drew
        with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
            loss = captioner(rows(4), *batch).sum()
        loss.backward()
        return loss, [p.grad for p in captioner.parameters() if p.requires_grad], len(calls)

    (loss, plain, once), (again, checkpointed, twice) = gradients(False), gradients(True)
    assert (once, twice) == (1, 2) and torch.equal(loss, again)
    for ours, expected in zip(checkpointed, plain, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0)


def test_a_run_with_gradient_checkpointing_is_the_run_without(config, tmp_path):
    for name, value in (("plain", "false"), ("checkpointed", "true")):
        train(config(f"decoder.gradient_checkpointing={value}", f"output_dir={tmp_path / name}", "loop.steps=2"))
    plain, checkpointed = (load_file(tmp_path / name / "model.safetensors") for name in ("plain", "checkpointed"))
    assert plain.keys() == checkpointed.keys()
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


@pytest.mark.slow
def test_a_compiled_run_is_the_run_without(config, tmp_path):
    still = [f"decoder.pretrained={_without_dropout(tmp_path / 'gpt2')}", "loop.precision=no", "loop.log_every=1"]
    for name, value in (("eager", "false"), ("compiled", "true")):
        train(config(*still, f"loop.compile={value}", f"output_dir={tmp_path / name}", "loop.steps=4"))
    figures = {}
    for name in ("eager", "compiled"):
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        figures[name] = [line.get("loss", line.get("text_loss")) for line in lines]
    assert len(figures["eager"]) == 5 and figures["compiled"] == pytest.approx(figures["eager"], rel=1e-4)
    assert (
        load_file(tmp_path / "eager" / "model.safetensors").keys()
        == load_file(tmp_path / "compiled" / "model.safetensors").keys()
    )
    assert Captioner.load(tmp_path / "compiled").caption_images(torch.randn(2, 16), progress=False)


def _without_dropout(folder):
    config = json.loads((folder / "config.json").read_text())
    config.update(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_long_captions_are_counted_or_refused_never_cut_in_silence(config, gpt2_folder):
    with pytest.warns(UserWarning, match=r"\d+ of 200 captions were cut to decoder\.max_tokens=9 tokens"):
        train(config("decoder.max_tokens=9", "loop.steps=1", "overwrite=true"))
    with pytest.raises(ValueError, match=r"more than max_tokens=9 tokens.*decoder\.truncate=true"):
        train(config("decoder.max_tokens=9", "decoder.truncate=false", "overwrite=true"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CaptionTokens.encode(CAPTIONS, load_tokenizer(gpt2_folder), 64)


def test_prefix_and_caption_must_have_room(config):
    sentence = r"prefix of 50 tokens .*longest caption's \d+ need more than the decoder's 64 positions"
    with pytest.raises(ValueError, match=sentence):
        train(config("decoder.mapper.prefix_length=50"))


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["decoder.train_decoder=false", "decoder.gradient_checkpointing=true"], "does nothing for a decoder"),
        (["decoder=demo", "decoder.pretrained=null", "decoder.train_decoder=false"], "needs a trained decoder"),
        (["loop.precision=fp16"], "loop.precision=fp16 needs a GPU"),
        (["loop.compile=1"], "loop.compile=1 must be true or false"),
    ],
)
def test_options_that_do_not_go_together_are_refused(config, overrides, sentence):
    if "fp16" in sentence and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match=sentence):
        train(config(*overrides))


def test_an_unreachable_hub_is_one_sentence_with_the_way_out(config, monkeypatch):
    def offline(*args, **options):
        raise OSError("Name or service not known\nRetrying")

    monkeypatch.setattr("image_captioning.hub.snapshot_download", offline)
    with pytest.raises(ValueError, match=r"gpt2-medium.*hf download gpt2-medium --local-dir") as error:
        train(config("decoder.pretrained=gpt2-medium"))
    assert "\n" not in str(error.value)


def test_a_folder_that_is_no_gpt2_is_refused(make, gpt2_folder):
    tensors = load_file(gpt2_folder / "model.safetensors")
    BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=30)
              ).save_pretrained(gpt2_folder)  # fmt: skip
    with pytest.raises(ValueError, match="it is a bert whose words depend on those after them"):
        make()
    GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=2)).save_pretrained(gpt2_folder)
    tensors.pop("transformer.h.1.mlp.c_fc.weight")
    save_file(tensors, gpt2_folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="cannot be loaded"):
        make()


def test_sizes_by_name_bring_their_own_tokenizer(compose):
    config = compose("image_captioning", "decoder=gpt2", "decoder.pretrained=gpt2-medium")
    assert config.decoder.tokenizer.name == "gpt2-medium"
