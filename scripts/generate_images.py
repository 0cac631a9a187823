"""Pictures from sentences. See configs/generate_images.yaml.

python scripts/generate_images.py "two balloons above a farm at sunset"
"""

from __future__ import annotations

import re
import sys

from omegaconf import DictConfig

from common.cli import command

OPTION = re.compile(r"[~+]{0,2}[\w.@/]+=|-")


def take_sentences(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Command-line arguments that are sentences, and those that are options (`name=value`)."""
    options = [word for word in arguments if OPTION.match(word)]
    return [word for word in arguments if word not in options], options


def main() -> None:
    """The command line: sentences, and options of `configs/generate_images.yaml`."""
    sentences, sys.argv[1:] = take_sentences(sys.argv[1:])

    def run(config: DictConfig) -> object:
        from image_generation.generate import generate

        return generate(config, sentences)

    command("generate_images", run)()


if __name__ == "__main__":
    main()
