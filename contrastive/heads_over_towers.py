"""model.kind=heads: small heads over frozen pretrained towers (LiT, arXiv 2111.07991, with both towers locked)."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from common.config import plain
from common.processes import Processes
from contrastive.features import Augmentation, FrozenFeatures
from contrastive.pairs import Pairs
from contrastive.setup import Setup
from embedding_space.encoders.heads import TowerHeads
from embedding_space.encoders.load import load_encoder
from embedding_space.encoders.tower_encoder import TowerEncoder
from embedding_space.tables import Tables
from training.batches import StepRandom
from training.loop import Loop


class FeaturePairs(Pairs):
    """Features of pictures and captions, for heads.

    Args:
        features: where they come from.
        views: of each picture. At least 2 for heads with `mirror`.
        drawn: of these, each step draws one of so many; None: of all.

    Attributes:
        images: (N, views, F) float16.
        texts: (M, F') float16.
    """

    def __init__(
        self,
        tables: Tables,
        split: str,
        device: torch.device,
        features: FrozenFeatures,
        views: int,
        drawn: int | None = None,
    ):
        super().__init__(tables, split, device)
        self.drawn = drawn or views
        self.images = features.images(split, self.image_rows, views).to(device)
        self.texts = features.texts(split, self.captions).to(device)

    def draw(self, pictures: Tensor, random: StepRandom) -> tuple[Tensor, Tensor]:
        view = random.integers(self.drawn) if self.drawn > 1 else 0
        return self.images[pictures, view].float(), self.texts[self.choose_captions(pictures, random)].float()

    def encode(self, model: TowerHeads) -> tuple[Tensor, Tensor]:
        views = self.images[:, : 2 if model.config["mirror"] else 1].unbind(1)
        return model.encode_image(*(view.float() for view in views)), model.encode_text(self.texts.float())


def heads_over_towers(config: DictConfig, tables: Tables, loop: Loop) -> Setup:
    """The setup of configs/model/heads.yaml. Raises ValueError when `encoder` is not a pair of towers without heads."""
    options = config.model
    encoder_options = plain(config.encoder) if config.get("encoder") else {}
    if encoder_options.get("kind") != "towers" or encoder_options.get("heads"):
        raise ValueError(
            f"model.kind=heads trains heads over two towers, which encoder={encoder_options.get('name')} is not: "
            "set encoder=photo_towers, or another of kind towers without heads"
        )
    encoder = load_encoder(**encoder_options, device=str(loop.device))
    assert isinstance(encoder, TowerEncoder)
    augmentation = Augmentation(**plain(options.augmentation))
    features = FrozenFeatures(options.features_dir, encoder, tables, augmentation, Processes())

    @cache
    def pairs(split: str) -> FeaturePairs:
        measured = 1 + options.mirror
        if split != config.dataset.pairs_split:
            return FeaturePairs(tables, split, loop.device, features, measured)
        views = augmentation.views
        return FeaturePairs(tables, split, loop.device, features, max(views, measured), drawn=views)

    train = pairs(config.dataset.pairs_split)
    torch.manual_seed(config.seed)
    heads = TowerHeads(
        options.dim,
        {"features": train.images.shape[-1], **plain(options.image_head)},
        {"features": train.texts.shape[-1], **plain(options.text_head)},
        encoder.description["image_tower"],
        encoder.description["text_tower"],
        options.init_logit_scale,
        options.mirror,
    )
    heads.logit_scale.requires_grad_(options.train_logit_scale)
    for head, rows in ((heads.image_head, train.images[:, 0]), (heads.text_head, train.texts)):
        rows = rows.float().cpu()
        head.standardise_on(rows)
        if options.cone_offset is not None:
            head.start_in_cone(rows, F.normalize(torch.randn(options.dim), dim=0), options.cone_offset)
    return Setup(heads, pairs, TowerHeads.save, TowerHeads.load, weights="model.safetensors")
