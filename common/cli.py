"""What every command line shares: paths of any name, one clear sentence for bad input, and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from omegaconf import DictConfig

from common.config import explain, override, stage_experiments
from common.extras import explain_missing
from common.hints import with_hint
from common.options import fit_options
from common.paths import CONFIGS
from common.process_setup import set_up_process
from common.sweep import Jobs
from common.terminal import print_any_character

USER_ERRORS = (ValueError, FileNotFoundError, NotADirectoryError, PermissionError, ImportError)


def command(stage: str, run: Callable[[DictConfig], object]) -> Callable[[], None]:
    """The command line of `run`, which takes the composed `configs/<stage>.yaml`.

    Bad input prints one sentence and exits with 1, an interrupt (or SIGTERM) exits with 130;
    `DIFFUSION_BRIDGE_TRACEBACK=1` shows the whole traceback instead. With -m, a job that fails is reported at once and
    at the end, and the others still run.
    """
    jobs = Jobs()

    def guarded(config: DictConfig) -> None:
        jobs.begin()
        try:
            run(fit_options(config, stage, HydraConfig.get().runtime.choices))
        except KeyboardInterrupt as interrupt:
            print(f"\nInterrupted. {interrupt}".rstrip(), file=sys.stderr)
            sys.exit(130)
        except ModuleNotFoundError as error:
            jobs.fail(explain_missing(error), ours=False)
        except USER_ERRORS as error:
            jobs.fail(error, ours=False)
        except Exception as error:  # a mistake of ours
            jobs.fail(error, ours=True)

    def main() -> None:
        set_up_process()
        print_any_character()
        quote_paths()
        if "TORCHELASTIC_RUN_ID" not in os.environ:  # schedulers send SIGTERM; torchrun's processes get both from it
            signal.signal(signal.SIGTERM, _as_interrupt)
        os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra ends the program, with advice to add misspelled keys
        try:
            sys.argv[1:] = stage_experiments(stage, sys.argv[1:])
            hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=stage)(guarded)()
            jobs.close()
        except CompactHydraException as error:
            fail(ValueError(explain(stage, sys.argv[1:], error)))
        except ValueError as error:
            fail(error)
        except OSError as error:  # Hydra makes the folder before the run begins
            reason = error.strerror or type(error).__name__
            fail(OSError(f"{error.filename}: {reason}: name a folder that can be written to with output_dir=..."))

    return main


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)  # a training's, which saves first; commands in the background have none
    (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)


def fail(error: Exception) -> None:
    """End the program with `error`'s sentence."""
    if os.environ.get("DIFFUSION_BRIDGE_TRACEBACK"):
        raise error
    print(f"Error: {with_hint(error)}", file=sys.stderr)
    sys.exit(1)


PATH_KEYS = (
    "checkpoint", "predictions", "references", "output_dir", "runs_dir", "store", "alignment_store", "cache_dir",
    "dataset.root", "dataset.source", "dataset.annotations", "dataset.captions", "dataset.images",
    "dataset.images.train", "dataset.images.val", "dataset.images.test", "dataset.extra_text", "dataset.texts.train",
    "dataset.texts.val", "train", "val", "test", "text_mean", "image_mean", "to", "evaluation", "encoder.pretrained",
    "encoder.heads", "model.features_dir", "decoder.pretrained", "init_from", "clip_score.store", "training_store",
    "labels", "diffusion_dir", "image_store", "text_store", "translation", "alignment.translation", "weights",
    "painter.model", "pictures", "reference", "fid.weights", "detector",
)  # fmt: skip


COUNTS_ELSEWHERE = ("pictures",)  # a folder of one command, and how many pictures for others


def quote_paths() -> None:
    """Quote the values of options in sys.argv that are paths, because Hydra's grammar refuses many names of files.

    Values are left alone that do not exist and look like more than a name: quoted, a list, an interpolation, null.
    """
    for index, argument in enumerate(sys.argv):
        key, equals, value = argument.partition("=")
        is_name = value != "null" and not set(value) & {"'", '"', ",", "$"}
        is_name = is_name and not value.startswith("[")
        counts = key in COUNTS_ELSEWHERE and value.isdigit()
        if equals and key in PATH_KEYS and not counts and (is_name or exists(value)):
            sys.argv[index] = override(key, value)


def exists(path: str) -> bool:
    """Whether a file or folder of this name is there; an argument too long to be a name is none."""
    try:
        return Path(path).exists()
    except OSError:  # longer than a path may be
        return False
