"""Images from sentences: translated into image embeddings, decoded by unCLIP (Karlo).

The work behind `scripts/generate_images.py`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from PIL.Image import Image

from common.files import write_json, write_whole
from common.plain import plain
from common.provenance import run_facts
from common.randomness import drawn_rows
from embedding_space.encoders.load import reload_encoder
from embedding_space.pictures import open_picture
from embedding_space.tables import read_tables
from modality_translation.image_generation import ImageDecoder, save_pictures
from modality_translation.translation import load_translation


def generate(config: DictConfig, sentences: list[str]) -> dict:
    """Write a picture for each sentence; returns what `images.json` holds.

    `cosine` compares a picture's embedding, by the decoder's CLIP, with the embedding it was generated from. FID and
    Inception score need many pictures and further weights, and are not computed.

    Raises:
        ValueError: there are no sentences.
    """
    if not sentences:
        raise ValueError('Give at least one sentence: python scripts/generate_images.py "a white boat on a lake"')
    translation = load_translation(config.checkpoint)
    decoder = ImageDecoder(config.weights)
    decoder.check_width(translation.dims["images"])
    encoder = reload_encoder(translation.encoders["texts"])
    encoder.warn_of_cut(sentences, "sentences")
    texts = encoder.encode_texts(sentences)
    sampling = plain(config.sampling)
    rows = translation.translate(texts, "text_to_image", **sampling)
    length = config.embedding_length
    if length is None:
        length = decoder.encode(_train_pictures(config)).norm(dim=-1).mean().item()  # stores have unit rows
    pictures = decoder.generate(
        rows,
        length,
        config.seed,
        config.batch_size,
        config.decoder_steps,
        config.super_resolution_steps,
        config.decoder_guidance_scale,
    )
    output_dir = Path(config.output_dir)
    write_whole(output_dir / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    paths = save_pictures(pictures, output_dir)
    cosines = F.cosine_similarity(decoder.encode(pictures), rows.cpu()).tolist()
    results = {
        **run_facts(),
        "translation": translation.provenance,
        "uses_pairs": True,
        "sampling": asdict(translation.sampling.changed(sampling)),
        "weights": str(config.weights),
        "embedding_length": length,
        "mean_cosine": sum(cosines) / len(cosines),
        "images": [
            {"file": path.name, "sentence": sentence, "cosine": cosine}
            for path, sentence, cosine in zip(paths, sentences, cosines, strict=True)
        ],
    }
    write_json(output_dir / "images.json", results, ensure_ascii=False)
    for path, sentence, cosine in zip(paths, sentences, cosines, strict=True):
        print(f"{path}: {sentence} (cosine to the requested embedding: {cosine:.3f})")
    return results


def _train_pictures(config: DictConfig) -> list[Image]:
    tables = read_tables(Path(config.dataset.root))
    rows = tables.image_rows(config.dataset.pairs_split)
    chosen = drawn_rows(len(rows), config.length_pictures, config.seed, 9)
    return [open_picture(path) for path in tables.image_paths(rows[chosen.numpy()])]
