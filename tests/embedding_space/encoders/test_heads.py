"""Heads over frozen towers: against a slow version, their folder, and the encoder made of both."""

from __future__ import annotations

import json
import math

import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from common.hints import with_hint
from embedding_space.encoders.heads import ProjectionHead, TowerHeads
from embedding_space.encoders.load import load_encoder
from embedding_space.encoders.towers import ImageTower, TextTower

IMAGE = {"model": "test_efficientnet", "image_size": 32, "features": ["mean"]}


@pytest.fixture
def towers(tmp_path):
    """Descriptions of two tiny towers whose weights lie in files."""
    torch.manual_seed(0)
    words = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "a", "dog", "cat"])}
    tokenizer = Tokenizer(models.WordLevel(words, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(tmp_path / "bert")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=5, max_position_embeddings=24, **small)).save_pretrained(tmp_path / "bert")
    state = ImageTower(**IMAGE, weights="random").model.state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "image.safetensors")
    image = ImageTower(**IMAGE, weights=str(tmp_path / "image.safetensors"))
    text = TextTower(str(tmp_path / "bert"))
    return image, text


@pytest.fixture
def saved(towers, tmp_path):
    """A folder of heads over those towers."""
    image, text = towers
    heads = TowerHeads(
        8, {"features": image.dim, "hidden": 12}, {"features": text.dim}, image.description, text.description, 2.5
    )
    heads.image_head.standardise_on(torch.rand(20, image.dim))
    heads.save(tmp_path / "heads")
    return tmp_path / "heads"


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("hidden", [None, 7])
@pytest.mark.parametrize("standardise", [True, False])
def test_a_head_is_the_sum_of_its_branches(linear, hidden, standardise):
    if not linear and hidden is None:
        with pytest.raises(ValueError, match="would do nothing"):
            ProjectionHead(5, 3, linear, hidden, standardise=standardise)
        return
    torch.manual_seed(0)
    head = ProjectionHead(5, 3, linear, hidden, 0.5, 0.5, standardise).eval()
    rows = torch.randn(40, 5) * 3 + 2
    head.standardise_on(rows)
    for row, output in zip(rows, head(rows), strict=True):
        x = [(row[i] - rows[:, i].mean()) / rows[:, i].std(correction=0) if standardise else row[i] for i in range(5)]
        slow = torch.zeros(3)
        if linear:
            slow += torch.stack([sum(w * v for w, v in zip(line, x, strict=True)) for line in head.linear.weight])
            slow += head.linear.bias
        if hidden:
            first, _, _, second = head.mlp
            z = [
                sum(w * v for w, v in zip(line, x, strict=True)) + b
                for line, b in zip(first.weight, first.bias, strict=True)
            ]
            z = torch.stack([v * 0.5 * (1 + torch.erf(v / math.sqrt(2))) for v in z])
            slow += (second.weight * z).sum(1) + second.bias
        assert torch.allclose(output, slow, atol=1e-4)


def test_a_feature_that_never_changes_is_only_centred():
    head = ProjectionHead(2, 3)
    head.standardise_on(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    assert head.mean.tolist() == [2, 5] and head.std.tolist() == [1, 1]


@pytest.mark.parametrize("offset", [0.0, 1.0, 3.0])
def test_a_cone_has_the_mean_cosine_that_its_offset_says(offset):
    torch.manual_seed(0)
    head = ProjectionHead(64, 128, hidden=32, dropout=0.3)
    rows = torch.randn(600, 64)
    head.standardise_on(rows)
    direction = torch.nn.functional.normalize(torch.randn(128), dim=0)
    head.start_in_cone(rows, direction, offset)
    assert head.training
    unit = torch.nn.functional.normalize(head.eval()(rows), dim=-1)
    cosines = (unit @ unit.T).fill_diagonal_(0).sum() / (600 * 599)
    assert cosines.item() == pytest.approx(offset**2 / (1 + offset**2), abs=0.03)
    if offset:
        assert torch.nn.functional.cosine_similarity(unit.mean(0), direction, dim=0) > 0.98


def test_heads_come_back_as_they_were_saved_but_for_float16(saved):
    heads = TowerHeads.load(saved)
    weights = load_file(saved / "model.safetensors")
    assert weights["image_head.linear.weight"].dtype == torch.float16
    assert weights["image_head.mean"].dtype == weights["logit_scale"].dtype == torch.float32
    assert heads.logit_scale.item() == 2.5 and not heads.training
    assert torch.equal(heads.image_head.linear.weight, weights["image_head.linear.weight"].float())
    images, texts, scale = heads(torch.randn(3, heads.image_head.linear.in_features), torch.randn(3, 16))
    assert torch.allclose(images.norm(dim=-1), torch.ones(3)) and images.shape == texts.shape == (3, 8)
    assert scale.item() == pytest.approx(math.exp(2.5))


def test_missing_and_damaged_heads_are_named(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No heads in .*nowhere .*missing\)$") as caught:
        TowerHeads.load(tmp_path / "nowhere")
    assert with_hint(caught.value).endswith(": run python -m contrastive.train experiment=photo_clip")
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "text_head": {"features": 17}}))
    with pytest.raises(ValueError, match="cannot be loaded"):
        TowerHeads.load(saved)
    (saved / "config.json").write_text(json.dumps(config))
    (saved / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(ValueError, match="cannot be loaded"):
        TowerHeads.load(saved)


def test_the_encoder_is_towers_then_heads_and_its_description_loads_it_again(saved, towers, tmp_path):
    image, text = towers
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 40), (200, 10, 60)).save(path)
    encoder = load_encoder("photo", kind="towers", heads=str(saved), batch_size=2)
    heads = TowerHeads.load(saved)
    with torch.no_grad():
        picture = heads.encode_image(image(image.preprocess(Image.open(path))[None]))
        sentence = heads.encode_text(text(text.tokenize(["a dog"])))
    assert encoder.dim == encoder.dim_of("texts") == 8 and encoder.joint
    assert torch.allclose(encoder.encode_images([path]), torch.nn.functional.normalize(picture), atol=1e-5)
    assert torch.allclose(encoder.encode_texts(["a dog"]), torch.nn.functional.normalize(sentence), atol=1e-5)
    again = load_encoder(**json.loads(json.dumps(encoder.description)))
    assert torch.allclose(again.encode_texts(["a cat"]), encoder.encode_texts(["a cat"]), atol=1e-6)


def test_mirrored_rows_lie_between_a_picture_and_its_mirror_image(saved, towers, tmp_path):
    heads = TowerHeads.load(saved)
    heads.config["mirror"] = True
    heads.save(saved)
    picture = Image.linear_gradient("L").rotate(30).resize((32, 32)).convert("RGB")
    picture.save(tmp_path / "a.png")
    ImageOps.mirror(picture).save(tmp_path / "b.png")
    encoder = load_encoder("photo", kind="towers", heads=str(saved))
    one, other = encoder.encode_images([tmp_path / "a.png", tmp_path / "b.png"])
    assert torch.allclose(one, other, atol=1e-5)
    encoder.heads.config["mirror"] = False
    apart = encoder.encode_images([tmp_path / "a.png", tmp_path / "b.png"])
    assert torch.allclose(one, torch.nn.functional.normalize(apart.sum(0), dim=0), atol=1e-5)
    assert not torch.allclose(*apart, atol=1e-4)


def test_pictures_need_no_text_tower(saved, tmp_path):
    (tmp_path / "bert" / "model.safetensors").unlink()
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    encoder = load_encoder("photo", kind="towers", heads=str(saved))
    assert encoder.encode_images([tmp_path / "a.png"]).shape == (1, 8)
    with pytest.raises(ValueError, match=r"text_tower\.model=.*cannot be loaded"):
        encoder.encode_texts(["a dog"])


def test_other_heads_and_other_towers_are_refused(saved, tmp_path):
    description = load_encoder("photo", kind="towers", heads=str(saved)).description
    other = TowerHeads.load(saved)
    other.image_head.linear.bias += 1
    other.save(saved)
    with pytest.raises(ValueError, match="weights of the encoder photo are not those"):
        load_encoder(**description)
    state = load_file(tmp_path / "image.safetensors")
    name = next(name for name, value in state.items() if value.ndim == 4)
    save_file({**state, name: state[name] + 1}, tmp_path / "image.safetensors")
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="not those that were used before"):
        load_encoder("photo", kind="towers", heads=str(saved)).encode_images([tmp_path / "a.png"])
