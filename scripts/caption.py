"""Caption photos, sounds or videos: files and folders, in any order with options. See configs/caption.yaml.

python scripts/caption.py photo.jpg folder/ checkpoint=outputs/image_captioning/demo_c3_seed0
python scripts/caption.py "shards-{000000..000099}.tar" @list.txt "data/*.parquet" checkpoint=photos format=parquet
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from common.cli import command, exists, fail
from embedding_space.sources.names import LIST_MARK, expand, is_pattern


def take_paths(arguments: list[str]) -> tuple[list[Path], list[str]]:
    """Split command-line arguments into files, folders and lists of them, and the rest, which is for Hydra.

    A name may hold anything, `=` and quotes included: what exists is a file to caption. `@list.txt` stands for a list,
    `shards-{000..099}.tar` and `data/*.parquet` for what they match; `~/` is the home folder in quotes, too.

    Raises:
        FileNotFoundError: an argument is none of them and no option, or some files that it names are missing.
    """
    paths, options = [], []
    for argument in arguments:
        if argument.removeprefix(LIST_MARK).startswith("~/") and not exists(argument):  # left so by quotes
            mark = LIST_MARK * argument.startswith(LIST_MARK)
            argument = mark + os.path.expanduser(argument.removeprefix(LIST_MARK))
        is_option = "=" in argument or argument.startswith(("-", "~", "+"))
        if exists(argument) or (argument.startswith(LIST_MARK) and exists(argument.removeprefix(LIST_MARK))):
            paths.append(Path(argument))
        elif is_pattern(argument) and (not is_option or "/" in argument.partition("=")[0].removeprefix("hydra/")):
            paths += expand(argument)  # no option but Hydra's has a slash before its =, as data/split=train/*.tar has
        elif is_option:
            options.append(argument)
        else:
            raise FileNotFoundError(f"There is no file or folder {argument!r}")
    return paths, options


def main() -> None:
    """The command line: files and folders, and options of `configs/caption.yaml`."""
    try:
        paths, sys.argv[1:] = take_paths(sys.argv[1:])
    except (FileNotFoundError, ImportError) as error:
        fail(error)

    def run(config: DictConfig) -> object:
        from image_captioning.batch.caption_many import are_many, caption_many
        from image_captioning.caption_photos import caption
        from pcm_net.load import load_captioner

        way = caption_many if are_many(config, paths) else caption
        return way(config, paths, partial(load_captioner, concepts=config.concepts))

    command("caption", run)()


if __name__ == "__main__":
    main()
