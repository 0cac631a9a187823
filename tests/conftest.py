# ruff: noqa: E402
"""Shared fixtures: tiny synthetic stores, and composed configs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from common.process_setup import set_up_process

set_up_process()  # before torch is imported, as in every command
os.environ["DIFFUSION_BRIDGE_DEVICE"] = "cpu"  # the same tests everywhere; those marked gpu ask for another device

import numpy as np
import pytest
import torch
from hypothesis import settings
from omegaconf import DictConfig

from common.config import compose_config
from embedding_space.encoders.base import EncodedImages, Encoder
from embedding_space.store import EmbeddingStore
from embedding_space.tables import write_tables
from embedding_space.write_store import write_store

settings.register_profile("tests", deadline=None)  # no test is timed: the machine may do other things
settings.load_profile("tests")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Half characters, which tests of broken names print, are escaped: UTF-8, in which workers report, has none."""
    report = yield
    report.sections = [(title, text.encode("utf-8", "backslashreplace").decode()) for title, text in report.sections]
    return report


NOUNS = ("dog", "cat", "boat", "tree", "car", "bird", "house", "star")
PLACES = ("beach", "forest", "street", "field", "lake", "hill")


class WordEncoder(Encoder):
    """A toy encoder: texts are sums of fixed word vectors, an image is its caption's vector, offset and noised."""

    def __init__(self, dim: int):
        super().__init__(device="cpu")
        self.dims = {"images": dim, "texts": dim}
        self.description = {"name": "words", "model": "words", "pretrained": None}

    def encode_texts(self, texts: list[str], done=lambda count: None) -> torch.Tensor:
        rows = [sum(self._vector(word) for word in text.split()) for text in texts]
        return torch.nn.functional.normalize(torch.stack(rows) + 1.0, dim=-1)

    def encode_image_shards(self, paths, shards, patches=False, done=lambda count: None):
        for shard in shards:
            rows = [self.encode_texts([paths[row].read_text()])[0] for row in shard]
            generator = torch.Generator().manual_seed(len(rows))
            offset = torch.linspace(-0.5, 0.5, self.dim)
            noise = 0.05 * torch.randn(len(rows), self.dim, generator=generator)
            rows = torch.nn.functional.normalize(torch.stack(rows) + offset + noise, dim=-1)
            yield EncodedImages(rows, None, None, list(range(len(rows))), [])

    def _vector(self, word: str) -> torch.Tensor:
        return torch.randn(self.dim, generator=torch.Generator().manual_seed(sum(map(ord, word)) * 7919))


@pytest.fixture
def word_encoder() -> type[Encoder]:
    """The class of the encoder that `make_store` uses."""
    return WordEncoder


@pytest.fixture
def make_store(tmp_path) -> Callable[..., EmbeddingStore]:
    """A factory of small stores in `tmp_path/data/tiny/words`: captions such as 'a dog on a hill', images that agree.

    Splits: images pretrain, val, test; captions pretrain, val, test (with images) and train (text only).
    """

    def make(dim: int = 16, texts: int = 200, images: int = 40) -> EmbeddingStore:
        root = tmp_path / "data" / "tiny"
        (root / "images").mkdir(parents=True)
        random = np.random.default_rng(0)

        def caption() -> str:
            return f"a {random.choice(NOUNS)} and a {random.choice(NOUNS)} on a {random.choice(PLACES)}"

        image_rows, caption_rows = [], []
        for split in ("pretrain", "val", "test"):
            for number in range(images):
                words, path = caption(), f"images/{split}_{number}.txt"
                (root / path).write_text(words)
                image_rows.append({"image_id": f"{split}_{number}", "path": path, "split": split})
                for sentence, text in enumerate((words, words.replace("a ", "one ", 1))):
                    caption_rows.append(
                        {
                            "caption_id": f"{split}_{number}_{sentence}",
                            "image_row": len(image_rows) - 1,
                            "caption": text,
                            "split": split,
                        }
                    )
        for number in range(texts):
            caption_rows.append(
                {"caption_id": f"train_{number}", "image_row": None, "caption": caption(), "split": "train"}
            )
        write_tables(root, image_rows, caption_rows)
        return write_store(root, WordEncoder(dim), name="words", text_split="train", image_mean_split="pretrain")

    return make


class WordTowers(WordEncoder):
    """Two word encoders of their own widths, one for images and one for texts."""

    def __init__(self, image_dim: int, text_dim: int):
        super().__init__(text_dim)
        self.image_tower, self.text_tower, self.joint = WordEncoder(image_dim), WordEncoder(text_dim), False
        self.dims = {"images": image_dim, "texts": text_dim}
        self.description = {"name": "towers", "kind": "towers", "image_tower": image_dim, "text_tower": text_dim}

    def encode_texts(self, texts: list[str], done=lambda count: None) -> torch.Tensor:
        return self.text_tower.encode_texts(texts, done)

    def encode_image_shards(self, *args, **options):
        return self.image_tower.encode_image_shards(*args, **options)


@pytest.fixture
def add_towers() -> Callable[..., EmbeddingStore]:
    """A factory of second views of a store's data set, by two towers without a joint space, in its folder `towers`."""

    def add(store: EmbeddingStore, image_dim: int = 24, text_dim: int = 12, name: str = "towers") -> EmbeddingStore:
        encoder = WordTowers(image_dim, text_dim)
        return write_store(store.path.parent, encoder, name=name, text_split="train", image_mean_split="pretrain")

    return add


@pytest.fixture
def write_video() -> Callable[..., Path]:
    """A writer of small videos, 64 by 48 pixels: frame k of n has the gray level 240 k / (n - 1), and the top left
    quarter is red."""
    import av  # needed by few tests

    def write(
        path: Path, frames: int = 50, rate: int = 10, codec: str = "libx264", gop: int = 12, times=None, **options
    ) -> Path:
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream(codec, rate=rate)
            stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", gop
            for number in range(frames):
                pixels = np.full((48, 64, 3), 240 * number // max(frames - 1, 1), np.uint8)
                pixels[:24, :32] = (255, 0, 0)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                if times is not None:  # in seconds
                    frame.time_base, frame.pts = Fraction(1, 1000), round(1000 * times[number])
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write


@pytest.fixture
def write_sound() -> Callable[..., Path]:
    """A writer of sounds, float samples (S,) or (C, S) within -1 ... 1."""
    import av

    def write(path: Path, waveform, rate: int = 16_000, codec: str = "pcm_s16le", **options: str) -> Path:
        channels = np.atleast_2d(np.asarray(waveform, np.float32))
        layout = "mono" if len(channels) == 1 else "stereo"
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream(codec, rate=rate, layout=layout)
            for start in range(0, channels.shape[1], 1024):
                part = np.ascontiguousarray(channels[:, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
                frame.sample_rate, frame.pts = rate, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write


@pytest.fixture
def compose() -> Callable[..., DictConfig]:
    """Compose a stage's config as its command line would: `compose("ddpm", "seed=1", ...)`."""
    return compose_config


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory) -> None:
    """open_clip models small enough to be made in no time: tiny, tiny-quickgelu, tiny-resnet and tiny-wide."""
    import open_clip  # six seconds, which tests without an encoder do without

    folder = tmp_path_factory.mktemp("models")
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    vision = {"image_size": 64, "layers": 2, "width": 64, "patch_size": 32}
    resnet = {"image_size": 96, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    for name, tower, quick in (
        ("tiny", vision, False),
        ("tiny-quickgelu", vision, True),
        ("tiny-resnet", resnet, True),
        ("tiny-wide", {**vision, "image_size": [32, 64]}, False),
    ):
        config = {"embed_dim": 24, "quick_gelu": quick, "vision_cfg": tower, "text_cfg": text}
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


@pytest.fixture
def read_wandb(tmp_path, monkeypatch) -> Callable[[Path], dict]:
    """A reader of the one offline run in a folder: its job type, its options, and the last value of each metric.

    `tables` are {name: (columns, rows)}, each as it was sent last, and `pictures` the files of their pictures.
    """
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "wandb_data"))

    def records(path: Path):
        """Of LevelDB's log format: blocks of 32 KiB, in which parts of records have headers of 7 bytes."""
        content, position, whole = path.read_bytes(), 7, b""
        while position + 7 <= len(content):
            left = 32768 - position % 32768
            if left < 7:
                position += left
                continue
            length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
            whole += content[position + 7 : position + 7 + length]
            position += 7 + length
            if kind in (1, 4):  # a whole record, or the last part of one
                record = wandb_internal_pb2.Record()
                record.ParseFromString(whole)
                yield record
                whole = b""

    def read(folder: Path) -> dict:
        [run] = (folder / "wandb").glob("offline-run-*")
        [file] = run.glob("*.wandb")
        found: dict = {"kind": None, "options": {}, "metrics": {}, "tables": {}, "pictures": []}
        ends = time.monotonic() + 60
        while not any(record.WhichOneof("record_type") == "exit" for record in records(file)):  # written by a process
            assert time.monotonic() < ends, f"{file} has no end"
            time.sleep(0.1)
        for record in records(file):
            found["kind"] = record.run.job_type or found["kind"]
            for item in (*record.run.config.update, *record.config.update):
                found["options"][item.key or item.nested_key[0]] = json.loads(item.value_json)
            for entry in record.artifact.manifest.contents:
                if entry.path.endswith(
                    ".table.json"
                ):  # with pictures; the run's folder has the words and numbers alone
                    table = json.loads(Path(entry.local_path).read_text())
                    found["tables"][entry.path.removesuffix(".table.json")] = (table["columns"], table["data"])
                else:
                    found["pictures"].append(entry.path)
            for item in record.history.item:
                *outer, last = item.nested_key or [item.key]
                value = found["metrics"]
                for name in outer:
                    value = value.setdefault(name, {})
                value[last] = json.loads(item.value_json)
        return found

    return read
