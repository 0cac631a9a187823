"""open_clip's encoders at random weights: preprocessing, tokens, towers and patch tokens against slow references."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from embedding_space.encoders import open_clip_encoder
from embedding_space.encoders.load import load_encoder
from embedding_space.encoders.open_clip_encoder import OpenClipEncoder

pytestmark = pytest.mark.usefixtures("tiny_models")

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # OpenAI's notebook
VIT = ("ViT-B-32-quickgelu", 224, 512, 49, 768)
LARGE = [("ViT-L-14-quickgelu", 224, 768, 256, 1024), ("RN50x4-quickgelu", 288, 640, 81, 2560)]


@pytest.fixture(scope="module")
def vit() -> OpenClipEncoder:
    return load_encoder("vit", model=VIT[0], pretrained="random", batch_size=2, device="cpu")


@pytest.fixture
def photos(tmp_path):
    random = np.random.default_rng(0)
    paths = []
    for number, (width, height) in enumerate([(300, 241), (200, 333), (64, 64)]):
        coarse = random.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height)).save(tmp_path / f"{number}.png")
        paths.append(tmp_path / f"{number}.png")
    return paths


def slow_preprocess(path, size: int) -> Tensor:
    """The shorter side to `size` pixels (bicubic), the middle square, CLIP's mean and standard deviation."""
    picture = Image.open(path)
    short = min(picture.size)
    width, height = (int(size * side / short) for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    pixels = np.asarray(picture, np.float32)[top : top + size, left : left + size] / 255
    return torch.from_numpy((pixels - np.float32(MEAN)) / np.float32(STD)).permute(2, 0, 1)


def slow_blocks(transformer: nn.Module, x: Tensor, causal: bool) -> Tensor:
    """Pre-norm transformer blocks with QuickGELU, x * sigmoid(1.702 x), written out; x (B, L, D)."""
    for block in transformer.resblocks:
        heads, attention = block.attn.num_heads, block.attn
        mixed = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
        query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in mixed.chunk(3, dim=-1))
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if causal:
            scores = scores + torch.full(scores.shape[-2:], -math.inf).triu(1)
        x = x + attention.out_proj((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))
        hidden = block.mlp.c_fc(block.ln_2(x))
        x = x + block.mlp.c_proj(hidden * torch.sigmoid(1.702 * hidden))
    return x


def slow_vit(tower: nn.Module, pictures: Tensor) -> Tensor:
    """(B, 1 + P, W): the class token and the patch tokens after the last block."""
    patches = tower.conv1(pictures).flatten(2).transpose(1, 2)
    x = torch.cat([tower.class_embedding.expand(len(pictures), 1, -1), patches], dim=1) + tower.positional_embedding
    return slow_blocks(tower.transformer, tower.ln_pre(x), causal=False)


def slow_text(model: nn.Module, tokens: Tensor) -> Tensor:
    x = model.token_embedding(tokens) + model.positional_embedding
    x = model.ln_final(slow_blocks(model.transformer, x, causal=True))
    return x[torch.arange(len(tokens)), (tokens == 49407).int().argmax(-1)] @ model.text_projection


def check_pictures(encoder: OpenClipEncoder, photos, size: int, dim: int, patches: int, width: int) -> None:
    pictures = torch.stack([slow_preprocess(path, size) for path in photos])
    transformed = torch.stack([encoder.preprocess(Image.open(path)) for path in photos])
    assert transformed.shape == (3, 3, size, size) and torch.allclose(transformed, pictures, atol=1e-5)
    assert len(pickle.dumps(encoder.preprocess)) < 10_000  # every worker process gets one
    assert encoder.dims == {"images": dim, "texts": dim} and encoder.patch_shape == (patches, width)
    [encoded] = encoder.encode_image_shards(photos, [range(3)], patches=True)
    assert encoded.patches.dtype == torch.float16 and encoded.patches.shape == (3, patches, dim)
    assert encoded.patch_features.dtype == torch.float16 and encoded.patch_features.shape == (3, patches, width)
    assert torch.equal(encoder.encode_images(photos), encoded.rows)  # patches or not
    if "ViT" in encoder.description["model"]:
        tower = encoder.model.visual
        slow = slow_vit(tower, pictures)
        assert torch.allclose(encoded.patch_features.float(), slow[:, 1:], rtol=1e-3, atol=3e-3)
        slow = F.normalize(tower.ln_post(slow) @ tower.proj, dim=-1)
        assert torch.allclose(encoded.rows, slow[:, 0], atol=1e-4)
        assert torch.allclose(encoded.patches.float(), slow[:, 1:], atol=1e-3)
        assert torch.allclose(encoder.head_patches(encoded.patch_features.float()).float(), slow[:, 1:], atol=3e-3)


def test_a_vit_encodes_pictures_and_patches_as_written_out_slowly(vit, photos):
    check_pictures(vit, photos, *VIT[1:])


def test_texts_are_tokenized_and_encoded_as_clip_does(vit):
    texts = ["a photo of a cat", "A photo of  a CAT", "a diagram"]
    tokens = vit.tokenizer(texts)
    assert tokens.shape == (3, 77)
    assert tokens[0, :8].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407, 0]
    assert torch.equal(tokens[0], tokens[1]) and tokens[2, :5].tolist() == [49406, 320, 22697, 49407, 0]
    long = vit.tokenizer(["cat " * 100])[0]
    assert long[0] == 49406 and long[-1] == 49407 and (long[1:-1] == 2368).all()
    slow = F.normalize(slow_text(vit.model, tokens), dim=-1)
    assert torch.allclose(vit.encode_texts(texts), slow, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "size", "dim", "patches", "width"), LARGE)
def test_larger_clips_encode_alike(photos, model, size, dim, patches, width):
    encoder = load_encoder("large", model=model, pretrained="random", device="cpu")
    check_pictures(encoder, photos, size, dim, patches, width)
    text = "a photo of a cat"
    slow = F.normalize(slow_text(encoder.model, encoder.tokenizer([text])), dim=-1)
    assert torch.allclose(encoder.encode_texts([text]), slow, atol=1e-4)


def test_patches_of_clips_resnets_attend_to_themselves_alone(photos):
    encoder = load_encoder("resnet", model="tiny-resnet", pretrained="random", device="cpu")
    check_pictures(encoder, photos, 96, 24, 9, width=256)
    tower, grid = encoder.model.visual, torch.stack([slow_preprocess(path, 96) for path in photos])
    for name in ("stem", "layer1", "layer2", "layer3", "layer4"):
        grid = getattr(tower, name)(grid)
    pool, width = tower.attnpool, grid.shape[1]
    [encoded] = encoder.encode_image_shards(photos, [range(3)], patches=True)
    assert torch.allclose(encoded.patch_features.float(), grid.flatten(2).transpose(1, 2), rtol=1e-3, atol=1e-3)
    for picture, patches in zip(grid, encoded.patches, strict=True):
        places = picture.flatten(1).T[:, None]  # (9, 1, C): sequences of one place each
        attended, _ = F.multi_head_attention_forward(
            *(places.transpose(0, 1),) * 3,
            width,
            pool.num_heads,
            torch.cat([pool.q_proj.weight, pool.k_proj.weight, pool.v_proj.weight]),
            torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
            *(None, None, False, 0.0),
            pool.c_proj.weight,
            pool.c_proj.bias,
        )
        assert torch.allclose(patches.float(), F.normalize(attended[0], dim=-1), atol=1e-3)


def test_the_mean_of_a_convolutional_towers_patches_is_its_image_feature(photos):
    encoder = load_encoder("demo_clip", model="local-dir:pretrained/demo_clip", device="cpu")
    pictures = torch.stack([encoder.preprocess(Image.open(path)) for path in photos])
    with torch.inference_mode():
        features, grid = encoder.patch_features(pictures)
        assert grid.shape == (3, 9, 368) == (3, *encoder.patch_shape)
        patches = encoder.patch_head(grid)
        assert torch.allclose(patches.mean(1), features, atol=1e-4)
        assert torch.equal(features, encoder.image_features(pictures))
        shifted = patches[0].unflatten(0, (3, 3))  # row by row: a change in one corner stays near it
        pictures[0, :, :8, -8:] = 0
        again = encoder.patch_head(encoder.patch_features(pictures)[1])
        changed = (again[0].unflatten(0, (3, 3)) - shifted).norm(dim=-1)
    assert changed[0, 2] == changed.max()


def test_a_grid_is_pooled_or_interpolated_before_the_head(photos):
    def load(**options):
        return load_encoder("demo_clip", model="local-dir:pretrained/demo_clip", device="cpu", **options)

    [plain] = load().encode_image_shards(photos, [range(3)], patches=True)
    grid = plain.patch_features.float().unflatten(1, (3, 3))
    [pooled] = load(patch_pool=3).encode_image_shards(photos, [range(3)], patches=True)
    assert torch.equal(pooled.rows, plain.rows)
    assert torch.allclose(pooled.patch_features[:, 0].float(), grid.mean((1, 2)), rtol=2e-3, atol=1e-3)
    assert torch.allclose(pooled.patches[:, 0].float(), plain.rows, atol=1e-3)  # the head of the whole map's mean
    [finer] = load(patch_upsample=2).encode_image_shards(photos, [range(3)], patches=True)
    assert torch.equal(finer.rows, plain.rows) and finer.patches.shape == (3, 36, 128)
    fine = finer.patch_features.float().unflatten(1, (6, 6))
    assert torch.allclose(fine[:, 0, 0], grid[:, 0, 0], rtol=1e-3)
    # Place (1, 2) of 6 x 6 is at (0.25, 0.75) of 3 x 3.
    weights = torch.tensor([[0.25 * 0.75, 0.75 * 0.75], [0.25 * 0.25, 0.75 * 0.25]])
    slow = (weights[..., None] * grid[:, :2, :2]).sum((1, 2))
    assert torch.allclose(fine[:, 1, 2], slow, rtol=2e-3, atol=1e-3)
    with pytest.raises(ValueError, match=r"patch_pool=2 \(option encoder\.patch_pool\) does not divide .* 3 x 3"):
        next(load(patch_pool=2).encode_image_shards(photos, [range(3)], patches=True))


def test_a_tower_without_a_grid_in_the_joint_space_is_refused(vit, monkeypatch):
    monkeypatch.setattr(vit.model.visual, "proj", None)
    with pytest.raises(ValueError, match=r"encoder\.model=ViT-B-32-quickgelu .*set patches=false"):
        vit.patch_features(torch.zeros(1, 3, 224, 224))


class Archived(nn.Module):
    """The parameters of a model under their names, for TorchScript, as OpenAI publishes them."""

    def __init__(self, state: dict[str, Tensor]):
        super().__init__()
        for name, value in state.items():
            owner, _, last = name.rpartition(".")
            module = self
            for part in filter(None, owner.split(".")):
                if part not in dict(module.named_children()):
                    module.add_module(part, nn.Module())
                module = getattr(module, part)
            module.register_buffer(last, value)

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize("ending", ["pt", "safetensors", "archive.pt"])
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_checkpoint_file_is_loaded_and_known_by_its_contents(tmp_path, caplog, ending):
    made = OpenClipEncoder("made", "tiny-quickgelu", "random", device="cpu")
    untrained = made.encode_texts(["a photo"])
    torch.manual_seed(3)
    for parameter in made.model.parameters():
        parameter.data.add_(0.01 * torch.randn_like(parameter)).copy_(parameter.half())
    state, file = made.model.state_dict(), tmp_path / f"weights.{ending}"
    if ending == "pt":
        torch.save({"state_dict": state}, file)
    elif ending == "safetensors":
        save_file(state, file)
    else:
        published = {name: value.half() for name, value in state.items()}
        torch.jit.script(Archived({**published, "input_resolution": torch.tensor(64)})).save(file)
    caplog.clear()
    loaded = load_encoder("file", model="tiny-quickgelu", pretrained=str(file), device="cpu")
    assert not caplog.records
    assert torch.equal(loaded.encode_texts(["a photo"]), made.encode_texts(["a photo"]))
    assert not torch.allclose(loaded.encode_texts(["a photo"]), untrained)
    again = load_encoder(**loaded.description, batch_size=3)
    assert again.description == loaded.description and again.batch_size == 3
    state["logit_scale"] += 1
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"weights of the encoder file are not those that were used"):
        load_encoder(**{**loaded.description, "pretrained": str(tmp_path / "weights.pt")})
    if ending == "archive.pt":
        with pytest.raises(ValueError, match=r"trained with QuickGELU; set encoder\.model=tiny-quickgelu"):
            OpenClipEncoder("plain", "tiny", str(file), device="cpu")
        return
    for _ in range(2):
        OpenClipEncoder("plain", "tiny", str(file), device="cpu")
    assert [record.message.partition(": it is unknown")[0] for record in caplog.records] == [
        f"encoder.model=tiny encoder.pretrained={file}"
    ]


@pytest.mark.parametrize(
    ("model", "file", "config", "wanted"),
    [
        ("ViT-B-32", "ViT-B-32.pt", None, "ViT-B-32-quickgelu"),
        ("ViT-B/32", "vit_b_32-quickgelu-laion400m_e32-46683a32.pt", None, "ViT-B-32-quickgelu"),
        ("ViT-L-14", "l14_400m.pt", None, "ViT-L-14-quickgelu"),
        ("ViT-B-32", "open_clip_model.safetensors", {"quick_gelu": True}, "ViT-B-32-quickgelu"),
        ("ViT-B-32-quickgelu", "open_clip_model.safetensors", {}, "ViT-B-32"),
        ("ViT-B-32-quickgelu", "ViT-B-32.pt", None, None),
        ("ViT-B-32", "open_clip_model.safetensors", {}, None),
        ("ViT-S-32-alt", "mine.pt", None, None),
    ],
)
def test_a_files_name_or_folder_may_tell_of_quickgelu(tmp_path, caplog, model, file, config, wanted):
    path = tmp_path / file
    path.write_bytes(b"not read")
    if config is not None:
        (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    if wanted is None:
        open_clip_encoder._check_weights(model, str(path))
    else:
        with pytest.raises(ValueError, match=rf"QuickGELU; set encoder\.model={wanted}$"):
            open_clip_encoder._check_weights(model, str(path))
    assert not caplog.records


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("act", ["quick_gelu", "gelu", None])
def test_a_folder_whose_configs_disagree_on_quickgelu_is_warned_of_once(tmp_path, caplog, quick, act):
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"not read")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"quick_gelu": quick}}))
    towers = {f"{tower}_config": {"hidden_act": act} if act else {} for tower in ("text", "vision")}
    (tmp_path / "config.json").write_text(json.dumps(towers))
    for _ in range(2):
        open_clip_encoder._locate(f"local-dir:{tmp_path}")
    differ = act is not None and (act == "quick_gelu") != quick
    assert [record.message for record in caplog.records] == [
        f"encoder.model=local-dir:{tmp_path}: config.json there says hidden_act={act}, open_clip_config.json "
        f"quick_gelu={quick}, which is used; if that is wrong, correct open_clip_config.json"
    ] * differ


@pytest.mark.parametrize(
    ("model", "expected"),
    [("ViT-B-16-SigLIP", 1.0), ("ViT-B-32", (1 - MEAN[0]) / STD[0]), ("ViT-S-32-alt", (1 - MEAN[0]) / STD[0])],
)
def test_a_checkpoint_file_is_preprocessed_for_as_the_models_tags_are(model, expected, monkeypatch):
    """SigLIP's pictures have another mean than CLIP's; a file does not say so."""
    given = {}

    def create(name, **options):
        given.update(options)
        return None, None, None

    monkeypatch.setattr(open_clip, "create_model_and_transforms", create)
    open_clip_encoder._load(model, "weights.pt")
    mean, std = given.get("image_mean", MEAN), given.get("image_std", STD)
    assert (1 - mean[0]) / std[0] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["clip_vit_b32", "clip_vit_l14", "clip_rn50x4"])
def test_the_configs_name_openais_weights_with_quickgelu(compose, name):
    config = compose("prepare_data", f"encoder={name}").encoder
    assert config.model.endswith("-quickgelu") and config.pretrained == "openai"
    assert config.name == f"{config.model}.openai"
    assert open_clip.get_pretrained_cfg(config.model, config.pretrained)["quick_gelu"]


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match=r"encoder\.kind='clip' of encoder=mine must be one of open_clip, towers"):
        load_encoder("mine", kind="clip", model="ViT-B-32")


def test_weights_that_cannot_be_fetched_may_be_given_as_a_file(monkeypatch):
    def offline(*args, **options):
        raise RuntimeError("no network.")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", offline)
    with pytest.raises(ValueError, match=r"no network\. Where there is no network, .* encoder\.pretrained=FILE"):
        OpenClipEncoder("clip", "ViT-B-32-quickgelu", "openai")
    with pytest.raises(ValueError, match=r"cannot be loaded: no network\.$"):
        OpenClipEncoder("clip", "ViT-B-32-quickgelu", "random")


def test_words_that_a_word_tokenizer_lacks_are_named():
    demo = load_encoder("demo_clip", model="local-dir:pretrained/demo_clip", device="cpu")
    assert demo.unknown_words("A dog on a Quasar beach, xylophone") == ["Quasar", "xylophone"]
    assert demo.unknown_words("a dog on a beach") == []
