"""Caption many files by `scripts/caption.py`: folders, tar files, Parquet files and lists, as a stream.

Memory does not grow with the number of files. Captions are written in parts of `PART_ROWS` files, each whole; batches
do not cross from one part into the next, so that any number of processes and interruptions makes the same file.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

import joblib
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from common.device import choose_precision
from common.files import whole_file, write_json, write_whole
from common.processes import Processes
from common.provenance import run_facts
from embedding_space.encoders.base import EncodedImages
from embedding_space.encoders.threads import load_in_threads
from embedding_space.media import NAMES
from embedding_space.sources.files import Folder
from embedding_space.sources.names import PARQUET_ENDING, is_list, is_packed
from embedding_space.sources.open import open_source
from embedding_space.sources.source import Source, read_ranges
from image_captioning.batch.formats import FORMATS, IMAGEFOLDER, json_line, name_in, open_text
from image_captioning.batch.parts import PART_ROWS, Parts, Shard
from image_captioning.batch.plan import Plan, make_plan
from image_captioning.caption_photos import NOTHING, FileCaptioner, report_others, set_aside
from image_captioning.captioner import Captioner
from image_captioning.captioning_model import CaptioningModel
from image_captioning.checkpoints import checkpoint_sha256
from training.run_folder import first_difference

MOST_THREADS = 8
OPTIONS = ("format", "shard", "field", "prefix_keys", "overwrite")


def are_many(config: DictConfig, paths: Sequence[Path]) -> bool:
    """Whether `caption_many` is the way: it is asked for by an option, by the files, or by torchrun."""
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    return several or any(config[name] for name in OPTIONS) or any(is_list(p) or is_packed(p) for p in paths)


def caption_many(
    config: DictConfig, paths: list[Path], load: Callable[[str], CaptioningModel] = Captioner.load
) -> Path:
    """Caption all files as `configs/caption.yaml` says, or go on with what an interrupted run left.

    Files that cannot be read are lines of `problems.jsonl`, and do not stop the run.

    Args:
        paths: files, folders, tar and Parquet files, and lists as `@list.txt`.
        load: makes the captioner of `checkpoint`.

    Returns:
        The file of captions.

    Raises:
        ValueError: options that do not fit, sources that cannot be read, two files with one key, another run in
            `output_dir`, or no file that can be read.
        FileNotFoundError: a source is not there.
    """
    shard = _checked(config, paths)
    processes = Processes()
    run = _Run(config, shard, FileCaptioner(config, load), processes)
    return run.caption(paths)


def _checked(config: DictConfig, paths: Sequence[Path]) -> Shard:
    if not paths:
        raise ValueError(NOTHING)
    if config.format is not None and config.format not in FORMATS:
        raise ValueError(f"format={config.format} must be one of {', '.join(FORMATS)}")
    packed = [path for path in paths if is_packed(path)]
    tars = [path for path in packed if not path.name.lower().endswith(PARQUET_ENDING)]
    for option, kind, there in (("field", "tar and Parquet files", packed), ("prefix_keys", "tar files", tars)):
        if config[option] and not there:
            raise ValueError(f"{option}={config[option]} is for {kind}, of which there are none here: leave it out")
    shard = Shard.parse(config.shard)
    if config.format == IMAGEFOLDER and (packed or shard.count > 1):
        what = f"and {packed[0]} holds its own" if packed else f"all in one file, and shard={config.shard} makes many"
        raise ValueError(f"format={IMAGEFOLDER} describes pictures in folders, {what}: choose another format")
    return shard


class _NoCaptions(Exception):
    """No file could be read: the file of captions is not written."""


class _Run:
    """One run: its options, its folder, its captioner, and this process among those that share it."""

    def __init__(self, config: DictConfig, shard: Shard, write: FileCaptioner, processes: Processes):
        self.config, self.shard, self.write, self.processes = config, shard, write, processes
        self.folder, self.format = Path(config.output_dir), config.format or "jsonl"
        name, ending, self.write_file = FORMATS[self.format]
        self.output = self.folder / f"{name}{shard.suffix}{ending}"
        self.problems = self.folder / f"problems{shard.suffix}.jsonl"
        self.record = self.folder / f"run{shard.suffix}.json"
        self.work = self.folder / f"partial{shard.suffix}"
        self.earlier = self.work / "earlier_run.json"  # the record of what this run replaces
        self.config_file = self.folder / f"config{shard.suffix}.yaml"
        self.things = NAMES[write.encoder.medium]

    def caption(self, paths: Sequence[Path]) -> Path:
        encoder, config = self.write.encoder, self.config
        sources = [open_source(path, encoder.medium, config.field, config.prefix_keys) for path in paths]
        self.processes.run_on_main(lambda: self._begin(sources))
        if not self.work.is_dir():
            return self.output  # finished before
        plan = Plan(**json.loads((self.work / "plan.json").read_text(encoding="utf-8")))
        parts = Parts(self.work, self.shard, plan.rows)
        # Each process lists for itself, and none writes a part before all have listed.
        missing = self.processes.run_everywhere(parts.missing)
        started = time.perf_counter()
        share = missing[self.processes.rank :: self.processes.count]
        if self.processes.rank == 0 and len(missing) < len(parts.all):
            print(f"Going on: {len(parts.all) - len(missing):,} of {len(parts.all):,} parts are there", file=sys.stderr)
        try:
            self.processes.run_everywhere(lambda: self._caption_parts(sources, plan, parts, share))
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt("The same command goes on from the parts that are captioned.") from interrupt
        seconds = time.perf_counter() - started
        self.processes.run_on_main(lambda: self._finish(parts, sum(map(len, missing)), seconds))
        return self.output

    def _begin(self, sources: Sequence[Source]) -> None:
        """Plan the run and open its work folder, unless it is finished."""
        check = partial(name_in, self.folder) if self.format == IMAGEFOLDER else lambda key: None
        plan = make_plan(sources, check)
        for source in sources:
            for kind, count in source.others.items() if isinstance(source, Folder) else ():
                report_others(kind, count, f"in {source.name}", self.write.encoder)
        if not plan.rows:
            raise ValueError(
                f"No {self.things} in {', '.join(source.name for source in sources)}, and the encoder of "
                f"checkpoint={self.config.checkpoint} reads nothing else: give some, or another checkpoint"
            )
        identity = json.loads(json.dumps(self._identity(plan)))
        if not self.config.overwrite and self._is_finished(identity):
            print(f"Already captioned: {self.output} (caption them again with overwrite=true)")
            shutil.rmtree(self.work, ignore_errors=True)
            return
        if not self.config.overwrite:
            self._refuse_other_shards(identity)
        if not self.record.is_file() and not self.work.is_dir():  # no run of this command wrote it
            set_aside([self.config_file])
        earlier = next((path.read_text("utf-8") for path in (self.record, self.earlier) if path.is_file()), None)
        Parts(self.work, self.shard, plan.rows).open(identity, self.config.overwrite)
        if earlier is not None:
            write_whole(self.earlier, earlier)
        self.record.unlink(missing_ok=True)  # what is begun again is not finished
        write_json(self.work / "plan.json", {"counts": plan.counts, "digest": plan.digest})

    def _identity(self, plan: Plan) -> dict[str, Any]:
        """What decides the captions, by which a run is known again."""
        config, captioner, encoder = self.config, self.write.captioner, self.write.encoder
        return {
            "checkpoint": captioner.folder and checkpoint_sha256(captioner.folder),
            **captioner.inference_changes,
            "encoder": encoder.description,
            "encoder.batch_size": encoder.batch_size,
            "decoding": self.write.decoding.recorded(),
            "training_store": config.training_store and str(config.training_store),
            "batch_size": config.batch_size,
            "precision": choose_precision(config.precision, encoder.device),
            "device": encoder.device.type,
            "field": config.field,
            "files": plan.rows,
            "keys": plan.digest,
            "part_rows": PART_ROWS,
            "shard": config.shard,
        }

    def _is_finished(self, identity: dict[str, Any]) -> bool:
        """Whether the folder holds the captions of such a run. Raises ValueError for those of another."""
        if self.record.is_file():
            before = json.loads(self.record.read_text(encoding="utf-8"))
            difference = first_difference(before.get("identity"), identity)
            difference = difference or first_difference({"format": before.get("format")}, {"format": self.format})
            if difference is None and self.output.is_file():
                return True
            if difference is not None:
                raise ValueError(
                    f"{self.folder} holds the captions of another run ({difference}): name another output_dir, or "
                    "replace them with overwrite=true"
                )
        if self.output.exists() and not self.record.is_file() and not self.work.is_dir():
            raise ValueError(
                f"{self.output} is there already, and not of this command: name another output_dir, or replace it "
                "with overwrite=true"
            )
        return False

    def _refuse_other_shards(self, identity: dict[str, Any]) -> None:
        """Refuse a folder in which other shards, finished or not, are not of this run."""

        def read(path: Path) -> dict[str, Any]:
            return json.loads(path.read_text(encoding="utf-8"))

        def of_run(one: Mapping[str, Any]) -> dict[str, Any]:  # machines may share a run
            return {
                "format": self.format,
                **one,
                "shard": None,
                "shards": Shard.parse(one["shard"]).count,
                "device": "",
            }

        if self.shard.count == 1:
            return
        records = {path: read(path) for path in self.folder.glob("run-*-of-*.json") if path != self.record}
        others = {path: {**record["identity"], "format": record["format"]} for path, record in records.items()}
        works = (path for path in self.folder.glob("partial-*-of-*/identity.json") if path.parent != self.work)
        others |= {path: read(path) for path in works}
        for path, other in sorted(others.items()):
            if difference := first_difference(of_run(other), of_run(identity)):
                raise ValueError(
                    f"{path} is of a shard of another run ({difference}), and the captions of both would be taken for "
                    "one: name another output_dir, or caption this shard anew with overwrite=true"
                )

    def _caption_parts(self, sources: Sequence[Source], plan: Plan, parts: Parts, share: Sequence[range]) -> None:
        encoder, keys = self.write.encoder, []
        threads = self.config.encoder.workers
        threads = max(1, threads if threads is not None else min(MOST_THREADS, joblib.cpu_count()))
        files = read_ranges(sources, plan.counts, share)
        sizes = list(map(len, share))
        loading = load_in_threads(files, encoder.load, encoder.medium, sizes, encoder.batch_size, threads)
        several = f" (process 1 of {self.processes.count})" if self.processes.count > 1 else ""
        bar = tqdm(
            desc=f"caption {self.things}{several}",
            total=sum(sizes),
            unit=encoder.medium,
            disable=self.processes.rank > 0,
        )

        def loaded() -> Iterator[Any]:
            for batch in loading:
                keys.extend(batch.keys)
                yield batch.loaded

        with closing(loading), bar:
            encoded = encoder.encode_loaded(loaded(), sizes, self.write.captioner.reads_patches)
            for part, images in zip(share, encoded, strict=True):
                parts.write(part, self._results(keys[: len(part)], images, part.start))
                del keys[: len(part)]
                bar.update(len(part))

    def _results(self, keys: Sequence[str], encoded: EncodedImages, first_row: int) -> Iterator[dict[str, str]]:
        """A line for each file, in order."""
        captions = dict(zip(encoded.kept, self.write(encoded, first_row), strict=True))
        reasons = iter(encoded.reasons)
        for place, key in enumerate(keys):
            yield {"key": key, **({"caption": captions[place]} if place in captions else {"problem": next(reasons)})}

    def _remove_earlier(self) -> None:
        """Remove the captions that this run replaces, where they are in a file of another format."""
        if not self.earlier.is_file():
            return
        with suppress(ValueError, KeyError):  # a damaged record names none
            name, ending, _ = FORMATS[json.loads(self.earlier.read_text(encoding="utf-8"))["format"]]
            path = self.folder / f"{name}{self.shard.suffix}{ending}"
            if path != self.output:
                path.unlink(missing_ok=True)

    def _finish(self, parts: Parts, done: int, seconds: float) -> None:
        """Join the parts and remove them; say how fast it was."""
        counts = Counter[str]()

        def captions(problems: IO[str]) -> Iterator[tuple[str, str]]:
            for row in parts.rows():
                counts["captions" if "caption" in row else "problems"] += 1
                if "caption" in row:
                    yield row["key"], row["caption"]
                else:
                    problems.write(json_line(row))

        with (
            whole_file(self.problems) as problems,
            open_text(problems) as file,
            suppress(_NoCaptions),
            whole_file(self.output) as output,
        ):
            self.write_file(output, captions(file), self.folder)
            if counts["problems"] and not counts["captions"]:
                raise _NoCaptions
        if counts["problems"] and not counts["captions"]:
            if self.earlier.is_file():
                self.earlier.replace(self.record)  # what was to be replaced stays
            parts.remove()  # so that the next run tries again
            raise ValueError(f"None of the {counts['problems']:,} {self.things} can be read: see {self.problems}")
        if not counts["problems"]:
            self.problems.unlink()
        speed = done / seconds if done else None
        identity = json.loads((self.work / "identity.json").read_text(encoding="utf-8"))
        facts = {name: counts[name] for name in ("captions", "problems")}
        facts |= {"seconds": seconds, "files_per_second": speed, "processes": self.processes.count}
        write_json(self.record, {"format": self.format, **facts, **run_facts(), "identity": identity})
        self._remove_earlier()
        OmegaConf.save(self.config, self.config_file, resolve=True)
        parts.remove()
        if counts["problems"]:
            print(f"{counts['problems']:,} {self.things} cannot be read: {self.problems}", file=sys.stderr)
        some = f"{done:,} of them in this run, " if done < counts.total() else ""
        fast = f" ({some}{speed:,.1f} a second)" if speed else ""
        print(f"{counts['captions']:,} {self.things} captioned{fast}: {self.output}")
