"""The encoder of a config or of a description, whatever its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embedding_space.encoders.base import Encoder
from embedding_space.media import Medium

KINDS = ("open_clip", "towers", "video", "clap", "imagebind", "imported")


def load_encoder(name: str, kind: str = "open_clip", sha256: str | None = None, **options: Any) -> Encoder:
    """The encoder of a config or of a `description`, which is a config.

    Args:
        name: the encoder's short name; its stores' folder name.
        kind: "open_clip" (`OpenClipEncoder`), "towers" (`TowerEncoder`: separate image and text towers), "video"
            (`VideoEncoder`: an encoder of pictures on frames), "clap" (`ClapEncoder`: sounds), "imagebind"
            (`ImageBindEncoder`: any medium), or "imported": rows of other codebases
            (`peers.importer.import_embeddings`), from the open_clip encoder named then.
        sha256: of the weights that are expected, where the description has it.
        options: what that kind of encoder takes.

    Raises:
        ValueError: an unknown kind; other weights than those of `sha256`; whatever the kind refuses.
        FileNotFoundError: a local model's files are missing.
    """
    if kind == "imported":
        if not (options.get("model") and options.get("pretrained")):
            raise ValueError(
                f"The embeddings {name} were imported from files that do not say which encoder made them, so nothing "
                "new can be encoded: import them with encoder.model=ViT-B-32-quickgelu encoder.pretrained=openai, or "
                "whatever open_clip calls it, and train again"
            )
        options.pop("files", None)
        kind = "open_clip"
    # Imported here: each kind brings libraries that the other does without.
    if kind == "open_clip":
        from embedding_space.encoders.open_clip_encoder import OpenClipEncoder as Kind
    elif kind == "towers":
        from embedding_space.encoders.tower_encoder import TowerEncoder as Kind
    elif kind == "video":
        from embedding_space.encoders.video import VideoEncoder as Kind
    elif kind == "clap":
        from embedding_space.encoders.clap_encoder import ClapEncoder as Kind
    elif kind == "imagebind":
        from embedding_space.encoders.imagebind_encoder import ImageBindEncoder as Kind
    else:
        raise ValueError(f"encoder.kind={kind!r} of encoder={name} must be one of {', '.join(KINDS)}")
    encoder = Kind(name, **options)
    digest = encoder.description.get("sha256")
    if sha256 is not None and digest != sha256:
        raise ValueError(
            f"The weights of the encoder {name} are not those that were used (SHA-256 {str(digest)[:12]} now, "
            f"{sha256[:12]} then): bring those back, or prepare the data and train the captioner again"
        )
    return encoder


def described_medium(description: Mapping[str, Any]) -> Medium:
    """What the encoder of a description reads, without loading it."""
    kind = description.get("kind", "open_clip")
    if kind == "clap" or description.get("sound"):
        return "sound"
    return "video" if kind == "video" else description.get("medium", "image")


def reload_encoder(description: Mapping[str, Any], **options: Any) -> Encoder:
    """The encoder of a store or a captioner, loaded for this machine.

    Args:
        description: `Encoder.description`.
        options: `precision`, `batch_size`, `workers`, `device`. By default the precision is this machine's (auto),
            not that of the machine that described the encoder: rows of another precision are in the same space.

    Raises:
        ValueError: as `load_encoder`.
    """
    encoder = dict(description)
    return load_encoder(**{**encoder, "precision": "auto", **options})
