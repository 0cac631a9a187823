"""The captioner's loss, its checkpoint, and its errors."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from alignment.chain import Alignment
from common.hints import with_hint
from image_captioning.alignments import STEPS
from image_captioning.build import build_captioner
from image_captioning.captioner import Captioner
from image_captioning.data import CaptionTokens
from image_captioning.mappers import make_mapper
from image_captioning.tokenizer import train_tokenizer

CAPTIONS = ["a dog on a beach", "two cats, and a boat", "a red car near the old house", "one bird"]


def rows(count: int, dim: int = 8) -> torch.Tensor:
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(1)), dim=-1)


@pytest.mark.parametrize(
    ("options", "length"),
    [
        ({"kind": "mlp", "prefix_length": 5}, 5),
        ({"kind": "mlp", "prefix_length": 2, "hidden": 7}, 2),
        ({"kind": "transformer", "prefix_length": 4, "layers": 2, "heads": 2}, 4),
        ({"kind": "transformer", "prefix_length": 3, "layers": 1, "heads": 4, "embedding_tokens": 6}, 3),
        ({"kind": "linear"}, 1),
        ({"kind": "linear", "prefix_length": 3}, 3),
    ],
)
def test_mapper_makes_a_prefix_that_depends_on_every_input_and_trains_every_parameter(options, length):
    mapper = make_mapper(8, 16, options)
    inputs = rows(4).requires_grad_()
    prefix = mapper(inputs)
    assert prefix.shape == (4, length, 16)
    (prefix * torch.randn_like(prefix)).sum().backward()
    assert (inputs.grad != 0).all()
    assert all(parameter.grad.abs().sum() > 0 for parameter in mapper.parameters())


def test_mlp_mapper_has_clipcaps_widths():
    linear = [layer for layer in make_mapper(512, 768, {"kind": "mlp"}).layers if hasattr(layer, "weight")]
    assert [tuple(layer.weight.shape) for layer in linear] == [(3840, 512), (7680, 3840)]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kind": "cnn"}, "Unknown mapper 'cnn'"),
        ({"kind": "linear", "layers": 3}, r"no option decoder\.mapper\.layers=3"),
        ({"kind": "transformer", "heads": 5}, "heads=5"),
        ({"kind": "mlp", "prefix_length": 0}, "prefix_length=0"),
    ],
)
def test_mapper_options_are_checked(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_mapper(8, 16, options)


@pytest.mark.parametrize("mapper", [None, {"kind": "transformer", "prefix_length": 4, "layers": 1, "heads": 2}])
def test_loss_equals_a_slow_sum_over_tokens(make_captioner, mapper):
    captioner = make_captioner(mapper)
    data = CaptionTokens.encode(CAPTIONS, captioner.tokenizer, 20)
    embeddings = rows(4)
    losses = captioner(embeddings, *data.batch(torch.arange(4)))
    for row, caption in enumerate(CAPTIONS):
        ids = [*captioner.tokenizer(caption).input_ids, captioner.tokenizer.eos_token_id]
        expected = 0.0
        for place, token in enumerate(ids):
            inputs = captioner.mapper(embeddings[row : row + 1])
            words = captioner.decoder.transformer.wte(torch.tensor([ids[:place]], dtype=torch.long))
            logits = captioner.decoder(inputs_embeds=torch.cat([inputs, words], dim=1)).logits[0, -1]
            expected -= logits.log_softmax(-1)[token].item()
        assert losses[row].item() == pytest.approx(expected, rel=1e-4)


def test_gradients_are_those_of_the_tokens_alone_without_padding(make_captioner):
    captioner = make_captioner()
    tokens, mask = CaptionTokens.encode(CAPTIONS, captioner.tokenizer, 20).batch(torch.arange(4))
    parameters = [*captioner.mapper.parameters(), *captioner.decoder.parameters()]
    gradients = torch.autograd.grad(captioner(rows(4), tokens, mask, 0.1).sum(), parameters)
    picked = captioner.logits(rows(4), tokens)[mask]
    loss = F.cross_entropy(picked, tokens[mask], reduction="sum", label_smoothing=0.1)
    for ours, expected in zip(gradients, torch.autograd.grad(loss, parameters), strict=True):
        torch.testing.assert_close(ours, expected)


def test_padding_changes_neither_logits_nor_loss(make_captioner):
    captioner = make_captioner()
    data = CaptionTokens.encode(CAPTIONS, captioner.tokenizer, 20)
    short, mask = data.batch(torch.arange(4))
    long, long_mask = data.batch(torch.arange(4), width=17)
    assert long.shape == (4, 17) and (long[:, short.shape[1] :] == captioner.tokenizer.pad_token_id).all()
    embeddings = rows(4)
    torch.testing.assert_close(
        captioner.logits(embeddings, short), captioner.logits(embeddings, long)[:, : short.shape[1]]
    )
    torch.testing.assert_close(captioner(embeddings, short, mask), captioner(embeddings, long, long_mask))


def test_label_smoothing_mixes_in_the_uniform_loss(make_captioner):
    captioner = make_captioner()
    tokens, mask = CaptionTokens.encode(CAPTIONS, captioner.tokenizer, 20).batch(torch.arange(4))
    plain, smooth = (captioner(rows(4), tokens, mask, smoothing) for smoothing in (0.0, 0.1))
    uniform = -(captioner.logits(rows(4), tokens).log_softmax(-1).mean(-1) * mask).sum(-1)
    torch.testing.assert_close(smooth, 0.9 * plain + 0.1 * uniform)


def test_the_alignment_stays_in_evaluation_mode_and_frozen(make_captioner):
    captioner = make_captioner().train()
    assert captioner.decoder.training and not captioner.alignment.training
    assert not any(parameter.requires_grad for parameter in captioner.alignment.parameters())
    other = captioner.eval().with_alignment(captioner.alignment)
    assert not other.training and not other.decoder.training, "they share the decoder, and so its dropout"


def test_alignment_is_float32_under_autocast(make_captioner):
    captioner = make_captioner(
        alignment=[{"step": "Normalize"}, {"step": "TextMemory", "temperature": 0.1, "rows": 5, "dim": 8},
                   {"step": "Normalize"}]
    )  # fmt: skip
    captioner.alignment.steps[1].memory.copy_(rows(5))
    expected = captioner.align_images(rows(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(captioner.align_images(rows(3)), expected, rtol=0, atol=0)


def test_round_trip_gives_the_same_captions_and_facts(make_captioner, tmp_path):
    memory = [
        {"step": "Normalize"},
        {"step": "Center", "dim": 8},
        {"step": "TextMemory", "temperature": 0.1, "rows": 5, "dim": 8},
        {"step": "Normalize"},
    ]
    captioner = make_captioner(alignment=memory)
    captioner.alignment.steps[1].inference_mean.copy_(rows(1)[0])
    captioner.alignment.steps[2].memory.copy_(rows(5))
    captioner.save_pretrained(tmp_path / "run")
    loaded = Captioner.load(tmp_path / "run")
    assert not loaded.training
    for name, value in captioner.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=0, atol=0)
    assert loaded.decoder.lm_head.weight is loaded.decoder.transformer.wte.weight
    assert loaded.alignment.options() == captioner.alignment.options()
    assert (loaded.encoder_description, loaded.provenance) == ({"name": "words"}, {"uses_pairs": False})
    images = rows(6) + 0.1
    captions = captioner.caption_images(images, progress=False)
    assert len(set(captions)) > 1
    assert loaded.caption_images(images, progress=False) == captions
    loaded.save_pretrained(tmp_path / "again")
    assert Captioner.load(tmp_path / "again").caption_images(images, progress=False) == captions


def test_a_checkpoint_of_an_earlier_version_is_read(make_captioner, tmp_path):
    captioner = make_captioner()
    captioner.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    earlier = {name.replace("decoder.", "gpt2."): value for name, value in tensors.items()}
    save_file(earlier, tmp_path / "model.safetensors", metadata={"format": "pt"})
    options = json.loads((tmp_path / "config.json").read_text())
    gpt2 = options.pop("decoder")
    del gpt2["model_type"], options["base"], options["lora"]
    (tmp_path / "config.json").write_text(json.dumps({**options, "gpt2": gpt2}))
    loaded = Captioner.load(tmp_path)
    assert loaded.weights_hash() == captioner.weights_hash()
    assert loaded.caption_images(rows(5), progress=False) == captioner.caption_images(rows(5), progress=False)


def test_load_finds_names_in_pretrained(make_captioner, tmp_path, monkeypatch):
    make_captioner().save_pretrained(tmp_path / "pretrained" / "small")
    monkeypatch.setattr("image_captioning.checkpoints.PRETRAINED", tmp_path / "pretrained")
    assert Captioner.load("small").dim == 8
    with pytest.raises(FileNotFoundError, match=r"No captioner in smal: .* in pretrained/ there is small"):
        Captioner.load("smal")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()  # of pictures, say
    assert Captioner.load("small").dim == 8
    make_captioner().save_pretrained(tmp_path / "small")
    (tmp_path / "small" / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"No captioner in small"):  # a captioner's folder comes first
        Captioner.load("small")


def test_a_missing_captioner_is_one_sentence_with_the_command(tmp_path):
    for checkpoint in (tmp_path / "nowhere", tmp_path, "no_such_name"):
        with pytest.raises(FileNotFoundError, match=r"^No captioner in ") as error:
            Captioner.load(checkpoint)
        assert ": run python -m image_captioning.train" in with_hint(error.value)


def test_missing_weights_are_a_missing_captioner(make_captioner, tmp_path):
    make_captioner().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"No captioner in .*model\.safetensors missing"):
        Captioner.load(tmp_path)


def test_a_hub_id_that_cannot_be_had_is_one_sentence(monkeypatch):
    def offline(*args, **options):
        raise ConnectionError("no network")

    monkeypatch.setattr("image_captioning.hub.snapshot_download", offline)
    with pytest.raises(FileNotFoundError, match=r"No captioner in someone/captioner.*did not give it \(no network\)"):
        Captioner.load("someone/captioner")


def test_a_hub_id_is_downloaded_without_pickles_and_loads_like_a_folder(make_captioner, tmp_path, monkeypatch):
    captioner = make_captioner()
    captioner.save_pretrained(tmp_path)
    asked = {}

    def download(name, **options):
        asked.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr("image_captioning.hub.snapshot_download", download)
    loaded = Captioner.load("someone/captioner", revision="v1")
    assert loaded.caption_images(rows(2), progress=False) == captioner.caption_images(rows(2), progress=False)
    assert asked["name"] == "someone/captioner" and asked["revision"] == "v1"
    assert not any(pattern.endswith((".bin", ".pt", ".py")) for pattern in asked["allow_patterns"])


def test_from_pretrained_is_as_strict_as_load(make_captioner, tmp_path):
    make_captioner().save_pretrained(tmp_path)
    assert Captioner.from_pretrained(tmp_path).tokenizer is not None
    _remove_tensor(tmp_path)
    with pytest.raises(ValueError, match="cannot be loaded"):
        Captioner.from_pretrained(tmp_path)


def _remove_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("mapper.layers.0.bias")
    save_file(tensors, folder / "model.safetensors")


def _edit_config(change):
    def edit(folder):
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return edit


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_remove_tensor, "mapper.layers.0.bias"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no tensors"), "cannot be loaded"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be loaded"),
        (_edit_config(lambda config: config["alignment"][0].update(step="os.system")), "Unknown alignment step"),
        (_edit_config(lambda config: config["decoder"].update(layers=3)), "gpt2 has no option 'layers'"),
        (_edit_config(lambda config: config["decoder"].update(n_embd=32)), "size mismatch"),
        (_edit_config(lambda config: config.pop("mapper")), "mapper"),
    ],
)
def test_a_damaged_captioner_is_refused_with_the_reason(make_captioner, tmp_path, damage, reason):
    make_captioner().save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=reason) as error:
        Captioner.load(tmp_path)
    assert "python -m image_captioning.train" in with_hint(error.value) and "\n" not in str(error.value)


def test_embeddings_are_checked(make_captioner):
    captioner = make_captioner()
    with pytest.raises(ValueError, match=r"reads embeddings of 8 dimensions from the encoder words; got .*\(2, 5\)"):
        captioner.caption_images(torch.zeros(2, 5))
    bad = rows(3)
    bad[1, 2] = float("nan")
    with pytest.raises(ValueError, match="Row 1 of the embeddings to caption is not finite"):
        captioner.caption_images(bad)


def test_text_captions_ignore_the_noise_and_no_rows_give_no_captions(make_captioner):
    captioner = make_captioner()
    noiseless = make_captioner(alignment=[{"step": "Normalize"}])
    assert captioner.caption(captioner.align_texts(rows(4)), progress=False) == noiseless.caption(
        noiseless.align_texts(rows(4)), progress=False
    )
    assert captioner.caption_images(rows(0), progress=False) == []


def test_gpt2_by_folder_brings_its_weights_and_needs_them_no_more(tmp_path):
    tokenizer = train_tokenizer(CAPTIONS)
    torch.manual_seed(3)
    config = GPT2Config(vocab_size=len(tokenizer) + 3, n_embd=16, n_layer=1, n_head=2, n_positions=48,
                        bos_token_id=0, eos_token_id=0)  # fmt: skip
    source = GPT2LMHeadModel(config)
    source.save_pretrained(tmp_path / "gpt2")
    common = {
        "dim": 8, "alignment": Alignment.from_options([{"step": "Normalize"}], STEPS), "tokenizer": tokenizer,
        "mapper": {"kind": "linear"}, "encoder": {}, "provenance": {},
    }  # fmt: skip
    captioner = build_captioner(**common, pretrained=str(tmp_path / "gpt2"))
    for name, value in source.state_dict().items():
        torch.testing.assert_close(captioner.decoder.state_dict()[name], value)
    captioner.save_pretrained(tmp_path / "run")
    (tmp_path / "gpt2").rename(tmp_path / "gone")
    loaded = Captioner.load(tmp_path / "run")
    assert loaded.caption_images(rows(2), progress=False) == captioner.caption_images(rows(2), progress=False)
    with pytest.raises(ValueError, match=r"cannot be loaded \(option decoder.pretrained\)"):
        build_captioner(**common, pretrained=str(tmp_path / "gpt2"))
    with pytest.raises(ValueError, match="exactly one of"):
        build_captioner(**common)
    config.vocab_size = 4
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "small")
    with pytest.raises(ValueError, match=r"tokenizer has \d+ tokens, .*small only 4"):
        build_captioner(**common, pretrained=str(tmp_path / "small"))


def test_special_tokens_but_the_end_and_padding_of_the_vocabulary_are_banned(make_captioner):
    captioner = make_captioner()
    tokenizer, words = captioner.tokenizer, len(captioner.tokenizer)
    assert captioner.banned_tokens() == [t for t in tokenizer.all_special_ids if t != tokenizer.eos_token_id] != []
    captioner.decoder.resize_token_embeddings(words + 2)
    assert captioner.banned_tokens()[-2:] == [words, words + 1]
