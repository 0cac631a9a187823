"""Loading in threads: the same batches as a loop, errors where they belong, and no thread that stays."""

from __future__ import annotations

import threading
import time
from itertools import count
from pathlib import Path

import pytest
import torch
from PIL import Image

from embedding_space.encoders.base import Encoder, LoadPicture
from embedding_space.encoders.threads import DECODER, POLL_SECONDS, READER, ahead, load_in_threads
from embedding_space.media import Packed


class MeanColor(Encoder):
    """Pictures as their mean color."""

    def __init__(self):
        super().__init__(batch_size=4, device="cpu")
        self.dims, self.description = {"images": 3, "texts": 3}, {"name": "mean"}

    @property
    def preprocess(self):
        return to_color

    def image_features(self, pictures):
        return pictures


def to_color(picture):
    return torch.tensor(picture.resize((1, 1)).getpixel((0, 0))).float() + 1


def ours() -> list[threading.Thread]:
    """The living threads that read and decode."""
    return [thread for thread in threading.enumerate() if thread.name == READER or thread.name.startswith(DECODER)]


def settle(items: list, seconds: float = 10) -> None:
    """Wait until a list has not grown for a while, as long as the thread that fills it polls."""
    end, before = time.monotonic() + seconds, -1
    while len(items) != before and time.monotonic() < end:
        before = len(items)
        time.sleep(2 * POLL_SECONDS)


@pytest.fixture
def files(tmp_path):
    """25 files, of which three are no pictures."""
    paths = [tmp_path / f"{number}.png" for number in range(25)]
    for number, path in enumerate(paths):
        Image.new("RGB", (40, 30), (10 * number, 255 - 10 * number, 7)).save(path)
    for number in (3, 4, 20):
        paths[number].write_bytes(b"no picture")
    return paths


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("packed", [False, True])
def test_threads_give_the_rows_of_the_loader(files, threads, packed):
    encoder, shards = MeanColor(), [range(0, 10), range(10, 11), range(11, 25)]
    keyed = [(path.name, Packed(str(path), path.read_bytes()) if packed else path) for path in files]
    batches = list(load_in_threads(keyed, encoder.load, "image", map(len, shards), 4, threads))
    assert [len(batch.keys) for batch in batches] == [4, 4, 2, 1, 4, 4, 4, 2]
    assert [key for batch in batches for key in batch.keys] == [path.name for path in files]
    ours = encoder.encode_loaded((batch.loaded for batch in batches), map(len, shards))
    for one, other in zip(ours, encoder.encode_image_shards(files, shards), strict=True):
        assert torch.equal(one.rows, other.rows) and one.kept == other.kept and one.reasons == other.reasons


def test_a_sound_inside_a_file_is_loaded_by_its_ending_and_named_by_its_key():
    def load(path: Path):
        if path.read_bytes() == b"bad":
            raise ValueError(f"{path} cannot be read as a sound")
        return torch.tensor([float(path.suffix == ".ogg")])

    files = [
        ("0", Packed("s.tar/0.ogg", b"good")),
        ("1", Packed("t.parquet:1 (a.ogg)", b"bad")),
        ("2", ValueError("no")),
    ]
    [(_, (loaded, kept, reasons))] = load_in_threads(files, load, "sound", [3], 4, 2)
    assert loaded is not None and loaded.tolist() == [[1.0]] and kept == [0]
    assert reasons == ["t.parquet:1 (a.ogg) cannot be read as a sound", "no"]


def test_a_file_that_breaks_the_decoder_stops_nothing_and_a_missing_library_everything(files):
    def load(path: Path):
        if path == files[1]:
            raise MemoryError("too wide")
        if path == files[2]:
            raise ImportError("av is not installed")
        return torch.zeros(3)

    keyed = [(path.name, path) for path in files[:2]]
    [(_, (loaded, kept, reasons))] = load_in_threads(keyed, load, "image", [2], 4, 2)
    assert loaded is not None and kept == [0] and reasons == [f"{files[1]} cannot be loaded: MemoryError: too wide"]
    with pytest.raises(ImportError, match="av is not installed"):
        list(load_in_threads([("2", files[2])], load, "image", [1], 4, 2))


def test_errors_of_a_stream_come_where_they_belong_and_threads_end(files):
    def stream():
        yield from [("a", files[0])] * 20
        raise ValueError("the stream broke")

    batches = load_in_threads(stream(), LoadPicture(to_color), "image", [4] * 6, 4, 2)
    assert len(next(batches).keys) == 4
    with pytest.raises(ValueError, match="the stream broke"):
        list(batches)
    endless = load_in_threads((("a", files[0]) for _ in count()), LoadPicture(to_color), "image", count(1), 4, 2)
    next(endless)
    endless.close()
    assert not ours()


def test_no_more_than_so_many_are_taken_ahead():
    taken = []
    items = ahead((taken.append(number) or number for number in range(100)), 3)
    assert next(items) == 0
    settle(taken)
    assert len(taken) <= 6
    assert list(items) == list(range(1, 100))


@pytest.mark.parametrize(("medium", "group"), [("image", 16), ("sound", 4), ("video", 1)])
def test_no_more_than_a_batch_and_a_few_groups_are_decoded_ahead(tmp_path, medium, group):
    decoded: list[Path] = []

    def load(path: Path):
        decoded.append(path)
        return torch.zeros(1)

    files = ((str(number), tmp_path / str(number)) for number in range(1000))
    batches = load_in_threads(files, load, medium, [1000], batch_size := 32, threads := 2)
    assert len(next(batches).keys) == batch_size
    settle(decoded)
    assert len(decoded) <= 2 * batch_size + (threads + 2) * group
    assert sum(len(batch.keys) for batch in batches) == 1000 - batch_size and len(decoded) == 1000
    assert not ours()
