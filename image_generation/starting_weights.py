"""The generator whose weights a training starts from."""

from __future__ import annotations

from embedding_space.encoders.identity import describe_encoder, is_same_encoder
from embedding_space.store import EmbeddingStore
from image_generation.generator import ImageGenerator
from training.init_from import errors_of_start, other_option

FREE = ("dropout",)  # options of the network that its weights do not depend on


def starting_generator(checkpoint: str, store: EmbeddingStore) -> ImageGenerator:
    """The generator of `init_from=checkpoint`, on the CPU.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or reads embeddings of another encoder than the store's.
    """
    with errors_of_start(checkpoint):
        start = ImageGenerator.load(checkpoint)
        if not is_same_encoder(start.encoder_description, store.manifest.encoder):
            raise ValueError(
                f"it reads embeddings of {describe_encoder(start.encoder_description)}, but {store.path} holds those "
                f"of {describe_encoder(store.manifest.encoder)}: choose the same encoder's store with store=..."
            )
    return start.cpu()


def copy_weights(start: ImageGenerator, generator: ImageGenerator) -> None:
    """Copy the network's weights. The alignments may differ, and the pictures' size.

    Raises:
        ValueError: the networks differ, or what they give.
    """
    ours, theirs = _shape(generator), _shape(start)
    if option := other_option(theirs, ours):
        raise ValueError(
            f"The generator to start from (option init_from) has {option}={theirs.get(option)!r}, here it is "
            f"{ours.get(option)!r}: give {option} the same value"
        )
    generator.network.load_state_dict(start.network.state_dict())


def _shape(generator: ImageGenerator) -> dict[str, object]:
    network = {f"network.{name}": value for name, value in generator.network_options.items() if name not in FREE}
    return {**network, "predicts": generator.predicts, "autoencoder": generator.autoencoder_name}
