"""A data set whose text has pictures: the work behind `scripts/synthesize_images.py`."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from omegaconf import DictConfig, OmegaConf

from common.arrow import compute as pc
from common.files import write_json, write_whole
from common.processes import Processes
from common.provenance import run_facts
from common.randomness import drawn_rows
from embedding_space.datasets.make import stored_path
from embedding_space.tables import Tables, TableWriter, read_tables
from embedding_space.write_store import check_training_splits
from synthetic_images.defects import write_defects
from synthetic_images.drawing import SHARDS, remove_shards
from synthetic_images.painter import Commission, Painting
from synthetic_images.painters import load_painter
from synthetic_images.provenance import FILE, Provenance

SPLIT = "synthetic"
NO_IMAGE = -1
RANDOMNESS = 9631  # tells the draw of captions from other draws of the seed


def synthesize(config: DictConfig) -> Provenance:
    """Paint as `configs/synthesize_images.yaml` says; a finished data set of the same settings is kept.

    Raises:
        ValueError: the folder holds something else, or the source's splits do not allow it.
    """
    processes, dataset = Processes(), config.dataset
    check_training_splits(dataset.text_split, dataset.image_mean_split)
    source, root = Path(dataset.root), Path(dataset.root).parent / config.name
    commission = _commission(read_tables(source), config)
    painter = processes.run_everywhere(lambda: load_painter(config))
    planned = Provenance(
        painter.images,
        {"kind": config.painter.kind, **painter.options()},
        {"name": dataset.name, "tables_hash": commission.tables.hash, "text_split": commission.split},
        config.seed,
        config.max_captions,
        len(commission.rows),
    )
    if (root / FILE).is_file():
        finished = Provenance.read(root)
        _check_same(root, finished.identity(), planned.identity())
        print(f"{root}: {finished.pictures:,} pictures are there already")
        return finished
    processes.run_on_main(lambda: _open(root, planned, config))
    started = time.perf_counter()
    painting = processes.run_everywhere(lambda: painter.paint(commission, root, processes))
    seconds = time.perf_counter() - started
    processes.run_on_main(lambda: _finish(root, commission, painting, planned, painter.facts, seconds))
    return Provenance.read(root)


def _commission(tables: Tables, config: DictConfig) -> Commission:
    """The captions of the text split, or so many of them.

    Raises:
        ValueError: the data set is painted itself, or an image has a caption's id.
    """
    if any(tables.has(kind, SPLIT) for kind in ("images", "captions")):
        raise ValueError(f"{tables.root} has a split {SPLIT!r} already: give the data set that it was painted from")
    rows = tables.caption_rows(config.dataset.text_split)
    taken = pc.is_in(tables.captions["caption_id"].take(pa.array(rows)), tables.images["image_id"].combine_chunks())
    if pc.any(taken).as_py():
        image_id = tables.captions["caption_id"].take(pa.array(rows)).filter(taken)[0].as_py()
        raise ValueError(
            f"{image_id!r} in {tables.root} is an image's id and a caption's, whose picture would have the same id: "
            "rename one"
        )
    count = len(rows) if config.max_captions is None else config.max_captions
    positions = drawn_rows(len(rows), count, config.seed, RANDOMNESS).numpy()
    return Commission(tables, config.dataset.text_split, rows[positions], positions, config.seed)


def _open(root: Path, planned: Provenance, config: DictConfig) -> None:
    """Begin the folder, or go on with one that the same settings began."""
    path = root / SHARDS / "identity.json"
    if path.is_file():
        _check_same(root, json.loads(path.read_text()), planned.identity())
    elif root.exists() and any(root.iterdir()):
        raise ValueError(f"{root} is in the way: no painting began it; choose another name=... or delete it")
    else:
        write_json(path, planned.identity())
    write_whole(Path(config.output_dir) / "config.yaml", OmegaConf.to_yaml(config, resolve=True))


def _check_same(root: Path, there: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for option in {**now, **there}:
        if there.get(option) != now.get(option):
            raise ValueError(
                f"{root} holds pictures painted with {option}={there.get(option)}, but {option}={now.get(option)} is "
                f"asked for: choose another name=... or delete {root}"
            )


def _finish(
    root: Path,
    commission: Commission,
    painting: Painting,
    planned: Provenance,
    facts: Mapping[str, Any],
    seconds: float,
) -> None:
    """Write tables, defects and, last, the provenance."""
    tables = _tables(root, commission, painting)
    with TableWriter(root, replace="unused") as writer:
        for row in _rows(tables.images):
            writer.image(**row)
        for row in _rows(tables.captions):
            writer.caption(**row)
    counts = None
    if painting.defects is not None:
        ids = commission.tables.captions["caption_id"].take(pa.array(commission.rows)).to_pylist()
        write_defects(root / "defects.parquet", ((ids[place], defect) for place, defect in painting.defects))
        counts = dict(Counter(defect.kind for _, defect in painting.defects).most_common())
    speed = {"pictures_per_second": round(len(painting.kept) / seconds, 1)}
    facts = {**facts, **speed, **run_facts()}
    replace(planned, pictures=len(painting.kept), defects=counts, facts=facts).write(root)
    remove_shards(root)
    print(
        f"{root}: {len(painting.kept):,} of {len(commission.rows):,} captions have pictures ({planned.images}), "
        f"{speed['pictures_per_second']:,} pictures per second"
    )


def _tables(root: Path, commission: Commission, painting: Painting) -> Tables:
    """The source's tables with the painted pictures at their end; rows of the source keep their numbers.

    Captions of the text split belong to their painted picture, or, where they have none, to no image. A file that
    several captions have, as photos that suit them, is one image, with the first one's id, and is encoded once.
    """
    source = commission.tables
    rows = commission.rows[painting.kept]  # of the captions that have pictures
    encoded = pa.array(painting.paths, pa.string()).dictionary_encode()  # in order of first appearance
    picture_of, paths_of_pictures = encoded.indices.to_numpy(), encoded.dictionary
    first = np.unique(picture_of, return_index=True)[1]
    painted = pa.table(
        {
            "image_id": source.captions["caption_id"].take(pa.array(rows[first])),
            "path": paths_of_pictures,
            "split": pa.array([SPLIT] * len(first), pa.string()),
        }
    )
    paths = [stored_path(source.root / path, root) for path in source.images["path"].to_pylist()]
    kept = source.images.set_column(1, "path", pa.array(paths, pa.string()))
    captions = source.captions
    image_rows = pc.fill_null(captions["image_row"], NO_IMAGE).to_numpy().copy()
    image_rows[source.caption_rows(commission.split)] = NO_IMAGE
    image_rows[rows] = len(kept) + picture_of
    splits = captions["split"].to_numpy().copy()
    splits[rows] = SPLIT
    captions = captions.set_column(1, "image_row", pa.array(image_rows, mask=image_rows == NO_IMAGE))
    captions = captions.set_column(3, "split", pa.array(splits, pa.string()))
    return Tables(root, pa.concat_tables([kept, painted]), captions)


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches():
        yield from batch.to_pylist()
