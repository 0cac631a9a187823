"""Any causal language model as decoder: three families, written offline, through training, loading and decoding."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from alignment.chain import Alignment
from alignment.steps import Normalize
from common.hints import with_hint
from image_captioning.build import build_captioner
from image_captioning.captioner import Captioner
from image_captioning.data import CaptionTokens
from image_captioning.generation import Decoding, generate
from image_captioning.language_models import check_causal, describe, make_language_model, positions
from image_captioning.tokenizer import load_tokenizer
from image_captioning.training_run import train

CAPTIONS = ["A dog on a beach.", "two cats, and a boat", "12 red cars near the old house", "one bird’s nest"]
WIDE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8,
        "num_key_value_heads": 2, "max_position_embeddings": 64}  # fmt: skip
FAMILIES = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "llama": {**WIDE, "tie_word_embeddings": False},
    "qwen3": {**WIDE, "tie_word_embeddings": True},
}


def train_bytes() -> Tokenizer:
    """Pairs of bytes, as GPT-2, SmolLM and Qwen have them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CAPTIONS * 3, trainer)
    return tokenizer


def train_pieces() -> Tokenizer:
    """Pieces with their spaces and a token before each sentence, as Llama 2 has them."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(parts)
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special[:3])
    tokenizer.add_tokens([])
    tokenizer.train_from_iterator(CAPTIONS * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def write_tokenizer(kind: str, folder) -> None:
    tokenizer = train_pieces() if kind == "llama" else train_bytes()
    ends = {"gpt2": {}, "llama": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
            "qwen3": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}}  # fmt: skip
    if kind == "gpt2":
        tokenizer.save(str(folder / "tokenizer.json"))
    else:
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ends[kind]).save_pretrained(folder)


@pytest.fixture
def write_decoder(tmp_path):
    """A writer of pretrained decoders: random weights of a family, in the files that the Hub has."""

    def write(kind: str):
        folder = tmp_path / kind
        folder.mkdir()
        write_tokenizer(kind, folder)
        words = len(load_tokenizer(folder))
        torch.manual_seed(0)
        options = {**FAMILIES[kind], "vocab_size": words + 3, "initializer_range": 0.2}
        AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **options)).save_pretrained(folder)
        return folder

    return write


@pytest.fixture
def config(compose, make_store, tmp_path):
    store = make_store()

    def made(folder, *overrides: str):
        place = [f"store={store.path}", f"output_dir={tmp_path / 'run'}", f"decoder.pretrained={folder}"]
        small = ["alignment=c3", "decoder=causal_lm", "loop.batch_size=20", "loop.warmup_steps=0", "loop.steps=2",
                 "decoder.mapper.prefix_length=3", "validation_captions=20", "loop.precision=fp32"]  # fmt: skip
        return compose("image_captioning", *small, *place, *overrides)

    return made


def rows(count: int, dim: int = 16) -> torch.Tensor:
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(1)), dim=-1)


@pytest.mark.parametrize("kind", FAMILIES)
def test_captions_round_trip_and_end_with_the_familys_end_token(kind, tmp_path):
    write_tokenizer(kind, tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    end = {"gpt2": "<|endoftext|>", "llama": "</s>", "qwen3": "<|im_end|>"}[kind]
    assert (tokenizer.eos_token, tokenizer.pad_token) == (end, end)
    tokens, mask = CaptionTokens.encode(CAPTIONS, tokenizer, 64).batch(torch.arange(len(CAPTIONS)))
    for row, caption in enumerate(CAPTIONS):
        ids = tokens[row][mask[row]].tolist()
        assert ids[-1] == tokenizer.eos_token_id and tokenizer.bos_token_id not in ids[:-1]
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == caption
    tokenizer.save_pretrained(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").eos_token == end


@pytest.mark.parametrize("kind", FAMILIES)
def test_adapters_are_trained_and_saved_without_the_decoder(kind, write_decoder, config, tmp_path):
    pytest.importorskip("peft")
    folder = write_decoder(kind)
    train(config(folder, "loop.learning_rate=0.01"))
    saved = load_file(tmp_path / "run" / "model.safetensors")
    assert all(name.startswith(("mapper.", "alignment.")) or ".lora_" in name for name in saved)
    adapters = {name: value for name, value in saved.items() if ".lora_B" in name}
    assert adapters and all(value.any() for value in adapters.values())  # they are zero before training
    captioner = Captioner.load(tmp_path / "run")
    before, after = load_file(folder / "model.safetensors"), captioner.decoder.state_dict()
    plain = {name.replace(".base_layer.", "."): value for name, value in after.items()}
    assert all(torch.equal(plain[name], value) for name, value in before.items())
    trainable = [name for name, weights in captioner.named_parameters() if weights.requires_grad]
    assert trainable and all(name.startswith("mapper.") or ".lora_" in name for name in trainable)
    whole = captioner.whole()
    whole.save_pretrained(tmp_path / "whole")
    captions = captioner.caption_images(rows(8), progress=False)
    assert len(set(captions)) > 1
    (folder / "model.safetensors").unlink()
    assert Captioner.load(tmp_path / "whole").caption_images(rows(8), progress=False) == captions
    with pytest.raises(ValueError, match=f"trained beside the decoder .*{kind}, which has other weights"):
        Captioner.load(tmp_path / "run")


def test_a_frozen_decoder_is_named_and_not_copied(write_decoder, config, tmp_path):
    folder = write_decoder("llama")
    options = ("decoder.lora=null", "decoder.train_decoder=false")
    train(config(folder, *options, "loop.steps=1", "loop.checkpoint_every=1", "loop.ema_decay=0.5"))
    assert not any(name.startswith("decoder.") for name in load_file(tmp_path / "run" / "model.safetensors"))
    captioner = Captioner.load(tmp_path / "run")
    before, after = load_file(folder / "model.safetensors"), captioner.decoder.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(after[name], value) for name, value in before.items())
    saved = captioner.caption_images(rows(4), progress=False)
    folder.rename(tmp_path / "away")
    with pytest.raises(ValueError, match=r"trained beside the decoder .*llama, which its checkpoint does not hold"):
        Captioner.load(tmp_path / "run")
    assert captioner.with_alignment(captioner.alignment).caption_images(rows(4), progress=False) == saved


def test_an_interrupted_training_of_adapters_goes_on_as_if_nothing_was(write_decoder, config, tmp_path, interrupted):
    pytest.importorskip("peft")
    folder = write_decoder("qwen3")
    options = ("loop.steps=3", "loop.checkpoint_every=1", "loop.ema_decay=0.5")
    train(config(folder, *options, f"output_dir={tmp_path / 'whole'}"))
    interrupted(lambda: train(config(folder, *options)))
    train(config(folder, *options))
    whole, halves = Captioner.load(tmp_path / "whole"), Captioner.load(tmp_path / "run")
    assert whole.weights_hash() == halves.weights_hash()


def test_half_precision_of_the_decoder_leaves_adapters_and_mapper_in_full(write_decoder, config, tmp_path):
    pytest.importorskip("peft")
    train(config(write_decoder("qwen3"), "decoder.dtype=bf16", "decoder.lora.target_modules=all-linear"))
    captioner = Captioner.load(tmp_path / "run")
    kinds = {name: weights.dtype for name, weights in captioner.named_parameters()}
    assert {kind for name, kind in kinds.items() if ".lora_" in name or "mapper" in name} == {torch.float32}
    assert kinds["decoder.model.embed_tokens.weight"] == torch.bfloat16
    assert captioner.decoder.model.rotary_emb.inv_freq.dtype == torch.float32
    assert len(captioner.caption_images(rows(2), Decoding("beam"), progress=False)) == 2


def test_small_changes_by_adapters_are_merged_in_full_precision():
    pytest.importorskip("peft")
    decoder = {"model_type": "llama", **WIDE, "vocab_size": 40, "pad_token_id": 0, "dtype": "bf16"}
    lora = {"rank": 2, "target_modules": ["q_proj"]}
    captioner = Captioner(8, {"kind": "linear"}, decoder, [{"step": "Normalize"}], {}, lora=lora)
    captioner.tokenizer = PreTrainedTokenizerFast(tokenizer_object=train_bytes())
    layer = captioner.decoder.model.layers[0].self_attn.q_proj
    torch.nn.init.constant_(layer.base_layer.weight, 1.0)
    torch.nn.init.normal_(layer.lora_B["default"].weight, std=1e-4)
    whole = captioner.whole().decoder
    assert {weights.dtype for weights in whole.parameters()} == {torch.float32}
    change = layer.get_delta_weight("default")
    assert 0 < change.abs().max() < 2**-9  # half of what bfloat16 can add to 1
    merged = whole.model.layers[0].self_attn.q_proj.weight
    torch.testing.assert_close(merged - 1, change, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_decoder_from_scratch_is_trained_whole(kind, config, tmp_path):
    options = ",".join(f"{name}: {str(value).lower()}" for name, value in FAMILIES[kind].items())
    scratch = ["decoder.pretrained=null", f"decoder.config={{model_type: {kind},{options}}}", "decoder.lora=null"]
    train(
        config(
            "null",
            *scratch,
            "decoder.tokenizer.name=null",
            "+decoder.tokenizer.kind=bpe",
            "decoder.gradient_checkpointing=true",
        )
    )
    captioner = Captioner.load(tmp_path / "run")
    assert captioner.decoder.config.model_type == kind and captioner.base is None
    captions = captioner.caption_images(rows(6), progress=False)
    assert Captioner.load(tmp_path / "run").caption_images(rows(6), progress=False) == captions


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:Passing")
@pytest.mark.parametrize("kind", FAMILIES)
def test_greedy_and_beams_are_transformers_own(kind):
    torch.manual_seed(0)
    model = make_language_model({"model_type": kind, **FAMILIES[kind], "vocab_size": 40, "initializer_range": 0.3})
    model.eval()
    prefix, end = torch.randn(12, 3, 32), 7
    shared = {"inputs_embeds": prefix, "attention_mask": torch.ones(12, 3, dtype=torch.long), "max_new_tokens": 12,
              "do_sample": False, "suppress_tokens": [1, 2], "eos_token_id": end, "pad_token_id": end}  # fmt: skip
    for decoding in (Decoding(max_new_tokens=12), Decoding("beam", beams=3, max_new_tokens=12)):
        ours = generate(model, prefix, decoding, end, [1, 2])
        assert torch.equal(ours, model.generate(**shared, num_beams=decoding.beams or 1))
    nearly_none = Decoding("nucleus", top_p=1e-6, max_new_tokens=12)
    greedy = generate(model, prefix, Decoding(max_new_tokens=12), end, [1, 2])
    assert torch.equal(generate(model, prefix, nearly_none, end, [1, 2]), greedy)
    assert len({tuple(row) for row in greedy.tolist()}) > 1


def test_the_loss_caps_logits_as_the_family_does():
    """Gemma 2 squeezes its logits after the output layer."""
    decoder = {"model_type": "gemma2", **WIDE, "final_logit_softcapping": 2.0, "initializer_range": 0.3,
               "vocab_size": 40, "pad_token_id": 0}  # fmt: skip
    captioner = Captioner(8, {"kind": "linear"}, decoder, [{"step": "Normalize"}], {}).eval()
    tokens = torch.arange(6).view(2, 3)
    head = captioner.decoder.get_output_embeddings()
    assert (
        captioner.logits(rows(2, 8), tokens).abs().max() <= 2 < head(captioner._hidden(rows(2, 8), tokens)).abs().max()
    )


def test_a_described_model_is_made_again():
    for kind, options in FAMILIES.items():
        config = AutoConfig.for_model(kind, **options, vocab_size=50)
        made = make_language_model(json.loads(json.dumps(describe(config))))
        assert describe(made.config) == describe(config) and positions(made) == 64
    assert positions(make_language_model({"model_type": "bloom", "hidden_size": 16, "vocab_size": 20})) > 10**6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "t5"}, "type 't5', for which transformers has no causal language model"),
        ({"model_type": "os.system"}, "type 'os.system', for which"),
        ({"model_type": "llama", "auto_map": {"AutoConfig": "code.Config"}}, "llama has no option 'auto_map'"),
        ({"model_type": "llama", "attn_implementation": "someone/kernel"}, "no option 'attn_implementation'"),
        ({"model_type": "llama", "rope_parameters": {"quantization_config": {}}}, "no option 'quantization_config'"),
        ({"model_type": "llama", "hidden_size": 33, "num_attention_heads": 4}, "make no llama"),
        ({"dtype": "int8"}, "Unknown dtype 'int8'"),
    ],
)
def test_options_that_make_no_decoder_or_choose_code_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_language_model(options)


def test_models_that_do_not_write_from_left_to_right_are_refused(write_decoder, tmp_path):
    def build(**options):
        build_captioner(8, Alignment([Normalize()]), tokenizer, {"kind": "linear"}, {}, {}, **options)

    tokenizer = load_tokenizer(write_decoder("gpt2"))
    small = {"d_model": 16, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": len(tokenizer)}
    T5ForConditionalGeneration(T5Config(**small)).save_pretrained(tmp_path / "t5")
    with pytest.raises(ValueError, match=r"t5.*decoder\.pretrained.*type 't5', for which transformers has no causal"):
        build(pretrained=str(tmp_path / "t5"))
    bert = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    with pytest.raises(ValueError, match="it is a bert whose words depend on those after them"):
        build(config={**bert, "intermediate_size": 16})
    (tmp_path / "gpt2" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"gpt2.*cannot be loaded \(option decoder\.pretrained\)"):
        build(pretrained=str(tmp_path / "gpt2"))


HEADS = {name: value for name, value in WIDE.items() if name not in ("head_dim", "num_key_value_heads")}
CHECKED = {
    **FAMILIES,
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "opt": {"hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 48, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 64},
    "gpt_neox": HEADS,
    "gemma2": WIDE,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", CHECKED)
def test_models_that_write_the_same_with_a_cache_pass_and_stay_as_they_are(kind, dtype):
    options = {"model_type": kind, **CHECKED[kind], "vocab_size": 40, "pad_token_id": 0, "dtype": dtype}
    model = make_language_model(options)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    check_causal(model)
    after = model.state_dict()
    assert model.training and {name: values.dtype for name, values in after.items()} == {
        name: values.dtype for name, values in before.items()
    }
    assert all(torch.equal(after[name], values) for name, values in before.items())


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("rwkv", {"hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2}, "a rwkv writes otherwise"),
        ("openai-gpt", {"n_embd": 32, "n_layer": 2, "n_head": 4}, "a openai-gpt writes otherwise"),
        ("recurrent_gemma", {**HEADS, "num_hidden_layers": 3, "num_key_value_heads": 1}, "gemma .* another model"),
        ("mamba", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}, "a mamba .*: name another model"),
        ("xlstm", {"hidden_size": 64, "num_blocks": 2, "num_heads": 4}, "a xlstm .*: name another model"),
    ],
)
def test_models_that_write_otherwise_with_a_cache_are_refused(kind, options, message):
    options = {name: value for name, value in options.items() if name != "max_position_embeddings"}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **options, vocab_size=40))
    with pytest.raises(ValueError, match=message):
        check_causal(model)


def test_a_model_that_gives_more_logits_than_asked_for_is_refused(monkeypatch):
    model = make_language_model({"model_type": "llama", **WIDE, "vocab_size": 40, "pad_token_id": 0})
    forward = model.forward

    def all_logits(cache=None, logits_to_keep=0, **inputs):
        return forward(cache=cache, **inputs)

    monkeypatch.setattr(model, "forward", all_logits)
    with pytest.raises(ValueError, match="a llama gives logits of 2 words where those of 1 are asked for"):
        check_causal(model)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["decoder.lora.target_modules=[nothing]"], r"lora\.target_modules=\['nothing'\] fits no layers"),
        (["decoder.lora.rank=0"], r"decoder\.lora\.rank=0 must be"),
        (["decoder.train_decoder=false"], "train_decoder=false trains no adapters: set decoder.lora=null"),
        (["decoder.lora=null", "decoder.dtype=bf16"], "decoder.dtype=bf16 rounds small steps away"),
        (["decoder.dtype=int8"], "decoder.dtype='int8' must be null or one of fp32, bf16, fp16"),
    ],
)
def test_options_of_adapters_are_checked(overrides, message, write_decoder, config):
    pytest.importorskip("peft")
    with pytest.raises(ValueError, match=message):
        train(config(write_decoder("gpt2"), *overrides))


def test_without_peft_the_sentence_says_what_to_install(write_decoder, config, monkeypatch):
    monkeypatch.setattr("common.extras.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"peft is not installed: pip install -e \"\.\[lora\]\""):
        train(config(write_decoder("gpt2")))


def test_a_decoder_that_a_command_fetches_is_missing_with_that_command(compose, make_store, tmp_path):
    missing = tmp_path / "decoders" / "smollm2"
    options = ["decoder=smollm2", f"decoder.pretrained={missing}", f"store={make_store().path}", "alignment=c3"]
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*smollm2 of a pretrained model") as error:
        train(compose("image_captioning", *options, f"output_dir={tmp_path / 'run'}", "validation_captions=20"))
    assert with_hint(error.value).endswith("run python scripts/download.py decoder=smollm2")
