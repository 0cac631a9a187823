"""Prompts around a word, whose text embeddings stand for it."""

PROMPTS = {
    "single": ("A photo of {}",),  # PCM-Net's paper
    "ensemble": (  # CLIP's seven best for ImageNet, as in ViECap
        "itap of a {}.",
        "a bad photo of the {}.",
        "a origami {}.",
        "a photo of the large {}.",
        "a {} in a video game.",
        "art of the {}.",
        "a photo of the small {}.",
    ),
}
