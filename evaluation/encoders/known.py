"""What is known of published weights: one table for `scripts/check_encoder.py` and `scripts/prepare_data.py`.

Another probe is an entry `Probe(name, texts, values, source, pictures=...)` in `probes` of its weights, and for a
new picture one in `pictures.PICTURES`. `Probe.recorded` gives the values of weights of which nobody published any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embedding_space.encoders.prompts import PROMPTS
from evaluation.encoders.probe import Probe


@dataclass(frozen=True)
class KnownWeights:
    """What must be true of an open_clip model with these weights; None is not known.

    Attributes:
        model: open_clip's name, or a `local-dir:` folder of this repository.
        pretrained: open_clip's tag of the weights.
        sha256: of the file that their authors published.
        parameters: their number, both towers and the logit scale.
        quick_gelu: whether they were trained with QuickGELU.
        size: pixels of a picture's side.
        mean, std: of the pictures' channels, as they are normalized.
        interpolation, resize: how a picture becomes a square, in open_clip's words.
        logit_scale: what cosines are multiplied with.
        gap: the least and the largest distance of the means that fits published ones, on photos and captions.
        paired_cosine: the same of the mean cosine of a photo and its captions.
        probes: published values.
    """

    model: str
    pretrained: str | None = None
    sha256: str | None = None
    parameters: int | None = None
    quick_gelu: bool | None = None
    size: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str | None = None
    resize: str | None = None
    logit_scale: float | None = None
    gap: tuple[float, float] | None = None
    paired_cosine: tuple[float, float] | None = None
    probes: tuple[Probe, ...] = ()


OPENAI: dict[str, Any] = {
    "pretrained": "openai",
    "quick_gelu": True,
    "mean": (0.48145466, 0.4578275, 0.40821073),  # openai/CLIP, clip/clip.py, _transform
    "std": (0.26862954, 0.26130258, 0.27577711),
    "interpolation": "bicubic",
    "resize": "shortest",
    "logit_scale": 100.0,  # openai/CLIP, README, `model(image, text)`
    "gap": (0.6, 1.05),
    "paired_cosine": (0.15, 0.4),
}
RANGES = (
    "COCO with ViT-B/32: gap 0.82 (Liang et al., arXiv 2203.02053, section 2) and 0.83 (C³, arXiv 2401.08567, geometry "
    "notebook); cosines up to about 0.4 (CLIPScore, arXiv 2104.08718, section 3). Other photos scatter around them"
)
CONCEPTS = ("dog", "cat", "car", "pizza", "boat", "train")
PCM_NET = "github.com/jianjieluo/PCM-Net, data/coco400_embeddings_*_with_ensemble.pickle, rows of six nouns"
# Which prompts PCM-Net's file was made with is not said there: ViECap's seven are inferred from its name.
INFERRED: dict[str, Any] = {"templates": PROMPTS["ensemble"], "tolerance": 0.02, "unclear_to": 0.08}
NOTEBOOK = "openai/CLIP, notebooks/Interacting_with_CLIP.ipynb, cosines with two digits"

VIT_B32 = KnownWeights(
    model="ViT-B-32-quickgelu",
    sha256="40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    parameters=151_277_313,
    size=224,
    **OPENAI,
    probes=(
        Probe(
            "CLIP.png: a diagram, a dog, a cat",
            ("a diagram", "a dog", "a cat"),
            ((0.9927937, 0.00421068, 0.00299572),),
            "openai/CLIP, README, Usage",
            pictures=("CLIP.png",),
            kind="probabilities",
            tolerance=0.1,
            hidden_colors=True,
        ),
        Probe(
            "COCO's 39769: a cat, a dog",
            ("a photo of a cat", "a photo of a dog"),
            ((24.5701, 19.3049),),
            "huggingface/transformers, tests/models/clip/test_modeling_clip.py, test_inference",
            pictures=("000000039769.jpg",),
            kind="logits",
            tolerance=0.1,
        ),
        Probe(
            "eight pictures of scikit-image",
            (
                "This is a page of text about segmentation",
                "This is a portrait of an astronaut with the American flag",
                "This is a rocket standing on a launchpad",
                "This is a facial photo of a tabby cat",
                "This is a black-and-white silhouette of a horse",
                "This is a cup of coffee on a saucer",
                "This is a person looking at a camera on a tripod",
                "This is a red motorcycle standing in a garage",
            ),
            (
                (0.35, 0.13, 0.17, 0.12, 0.17, 0.14, 0.19, 0.14),
                (0.15, 0.28, 0.19, 0.12, 0.11, 0.15, 0.19, 0.15),
                (0.16, 0.22, 0.30, 0.12, 0.15, 0.12, 0.21, 0.16),
                (0.20, 0.17, 0.18, 0.31, 0.15, 0.18, 0.21, 0.15),
                (0.20, 0.16, 0.17, 0.15, 0.35, 0.15, 0.20, 0.16),
                (0.20, 0.15, 0.14, 0.17, 0.15, 0.29, 0.14, 0.13),
                (0.18, 0.17, 0.21, 0.14, 0.20, 0.13, 0.29, 0.12),
                (0.16, 0.15, 0.16, 0.12, 0.17, 0.12, 0.16, 0.32),
            ),
            NOTEBOOK,
            pictures=(
                "page.png", "astronaut.png", "rocket.jpg", "chelsea.png", "horse.png", "coffee.png", "camera.png",
                "motorcycle_right.png",
            ),
            tolerance=0.012,
        ),
        Probe(
            "texts: six nouns",
            CONCEPTS,
            (
                (1.0000, 0.9188, 0.8721, 0.8168, 0.8624, 0.8531),
                (0.9188, 1.0000, 0.8629, 0.7979, 0.8467, 0.8403),
                (0.8721, 0.8629, 1.0000, 0.8156, 0.9024, 0.8945),
                (0.8168, 0.7979, 0.8156, 1.0000, 0.8178, 0.8045),
                (0.8624, 0.8467, 0.9024, 0.8178, 1.0000, 0.8953),
                (0.8531, 0.8403, 0.8945, 0.8045, 0.8953, 1.0000),
            ),
            PCM_NET,
            **INFERRED,
        ),
    ),
)  # fmt: skip
VIT_L14 = KnownWeights(
    model="ViT-L-14-quickgelu",
    sha256="b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    parameters=427_616_513,
    size=224,
    **OPENAI,
    probes=(
        Probe(
            "texts: six nouns",
            CONCEPTS,
            (
                (1.0000, 0.8813, 0.8234, 0.7676, 0.7862, 0.7845),
                (0.8813, 1.0000, 0.8177, 0.7622, 0.7822, 0.7754),
                (0.8234, 0.8177, 1.0000, 0.7639, 0.8489, 0.8388),
                (0.7676, 0.7622, 0.7639, 1.0000, 0.7511, 0.7453),
                (0.7862, 0.7822, 0.8489, 0.7511, 1.0000, 0.8334),
                (0.7845, 0.7754, 0.8388, 0.7453, 0.8334, 1.0000),
            ),
            PCM_NET,
            **INFERRED,
        ),
    ),
)
RN50X4 = KnownWeights(
    model="RN50x4-quickgelu",
    sha256="7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
    parameters=178_300_601,
    size=288,
    **OPENAI,
)
# by the pretrained's name, as `known=` of check_encoder.py takes it
KNOWN = {"ViT-B-32.openai": VIT_B32, "ViT-L-14.openai": VIT_L14, "RN50x4.openai": RN50X4}


def find_known(description: Mapping[str, Any]) -> tuple[str, KnownWeights] | None:
    """The known weights that an `Encoder.description` names: by their tag, or by the published file's hash."""
    model = str(description.get("model", "")).replace("/", "-")
    for name, known in KNOWN.items():
        if model == known.model and known.pretrained == description.get("pretrained"):
            return name, known
        if known.sha256 is not None and known.sha256 == description.get("sha256"):
            return name, known
    return None
