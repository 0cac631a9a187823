"""Caption photos, sounds or videos: files and folders, in any order with options. See configs/caption.yaml.

python scripts/caption.py photo.jpg folder/ checkpoint=outputs/image_captioning/demo_c3_seed0
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from common.cli import command, exists, fail


def take_paths(arguments: list[str]) -> tuple[list[Path], list[str]]:
    """Split command-line arguments into existing files or folders and the rest, which is for Hydra.

    A name may hold anything, `=` and quotes included: what exists is a file to caption.

    Raises:
        FileNotFoundError: an argument neither exists nor is an option.
    """
    paths, options = [], []
    for argument in arguments:
        if exists(argument):
            paths.append(Path(argument))
        elif "=" in argument or argument.startswith(("-", "~", "+")):
            options.append(argument)
        else:
            raise FileNotFoundError(f"There is no file or folder {argument!r}")
    return paths, options


def main() -> None:
    """The command line: files and folders, and options of `configs/caption.yaml`."""
    try:
        paths, sys.argv[1:] = take_paths(sys.argv[1:])
    except FileNotFoundError as error:
        fail(error)

    def run(config: DictConfig) -> dict[str, str]:
        from image_captioning.caption_photos import caption
        from pcm_net.load import load_captioner

        return caption(config, paths, partial(load_captioner, concepts=config.concepts))

    command("caption", run)()


if __name__ == "__main__":
    main()
