"""Preparing: unreadable images, patch tokens, interruptions, several processes, and memory."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from alignment.chain import Alignment
from common.hints import with_hint
from common.processes import Processes
from embedding_space import write_store as prepare
from embedding_space.encoders.base import Encoder
from embedding_space.pictures import open_picture
from embedding_space.store import EmbeddingStore
from embedding_space.tables import write_tables
from image_captioning.alignments import STEPS

ROOT = Path(__file__).resolve().parents[2]
SPLITS = ("pretrain",) * 6 + ("val",) * 3 + ("test",) * 3


class PixelEncoder(Encoder):
    """An image is its four quarters' colours, a patch one quarter's, a text its letters' counts. May be interrupted.

    The head writes a patch's colour four times, once for each quarter."""

    def __init__(
        self,
        texts: int = 12,
        interrupt_after: int | None = None,
        nan_at: str | None = None,
        joint: bool = True,
    ):
        super().__init__(batch_size=2, device="cpu")
        self.dims, self.joint = {"images": 12, "texts": texts}, joint
        self.description = {"name": "pixels", "texts": texts}
        self.encoded, self.interrupt_after, self.nan_at = [], interrupt_after, nan_at

    patch_shape = (4, 3)  # else a picture would be encoded, and counted, to see

    def _count(self, things):
        if self.interrupt_after is not None and len(self.encoded) >= self.interrupt_after:
            raise KeyboardInterrupt
        self.encoded += things

    @staticmethod
    def preprocess(picture):
        return torch.from_numpy(np.array(picture.resize((2, 2), Image.Resampling.BOX))).permute(2, 0, 1).float() + 1

    def image_features(self, pictures):
        self._count(list(pictures))
        return pictures.flatten(1)

    def grid_features(self, pictures):
        return self.image_features(pictures), pictures

    def patch_head(self, features):
        return features.tile(4)

    def text_features(self, sentences):
        self._count(sentences)
        counts = [[1 + text.count(chr(ord("0") + n)) for n in range(self.dims["texts"])] for text in sentences]
        return (
            torch.tensor(counts)
            * torch.tensor([float("nan") if text == self.nan_at else 1 for text in sentences])[:, None]
        )


def paint(path: Path, number: int) -> None:
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make_pictures(root: Path, broken: tuple[int, ...] = ()) -> Path:
    """12 pictures with two captions each and 5 captions alone; the pictures in `broken` are none."""
    root.mkdir(parents=True)
    images, captions = [], []
    for number, split in enumerate(SPLITS):
        paint(root / f"{number}.png", number)
        if number in broken:
            (root / f"{number}.png").write_text("no picture")
        images.append({"image_id": f"image{number}", "path": f"{number}.png", "split": split})
        captions += [
            {"caption_id": f"{number}_{n}", "image_row": number, "caption": f"{number} {n}", "split": split}
            for n in range(2)
        ]
    captions += [{"caption_id": f"t{n}", "image_row": None, "caption": f"text {n}", "split": "train"} for n in range(5)]
    write_tables(root, images, captions)
    return root


def write(root: Path, encoder: Encoder, name: str = "pixels", **options) -> EmbeddingStore:
    return prepare.write_store(root, encoder, name, "train", "pretrain", **options)


def contents(store: EmbeddingStore) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.path.iterdir() if path.name != "manifest.json"}


def test_unreadable_images_are_left_out_everywhere_and_listed(tmp_path, caplog):
    root = make_pictures(tmp_path / "data", broken=(2, 10))
    whole = write(make_pictures(tmp_path / "whole"), PixelEncoder())
    store = write(root, PixelEncoder(), max_unreadable_fraction=0.2)
    assert store.manifest.unreadable == [2, 10]
    listed = [json.loads(line) for line in (store.path / "unreadable.jsonl").read_text().splitlines()]
    assert [(entry["image_id"], entry["path"]) for entry in listed] == [("image2", "2.png"), ("image10", "10.png")]
    assert all("cannot be read as a picture" in entry["reason"] for entry in listed)
    assert not np.load(store.path / "images.npy")[[2, 10]].any()
    assert store.image_ids("test") == ["image9", "image11"]
    assert torch.equal(store.images("test"), whole.images("test")[[0, 2]])
    assert store.captions("test") == ["9 0", "9 1", "11 0", "11 1"]
    assert torch.equal(store.texts("test"), whole.texts("test")[[0, 1, 4, 5]])
    assert store.pairs("test").tolist() == [0, 0, 1, 1]
    assert store.tables.references("test") == {"image9": ["9 0", "9 1"], "image11": ["11 0", "11 1"]}
    assert torch.allclose(store.mean("image"), store.images("pretrain").mean(0), atol=1e-3)
    assert not torch.allclose(store.mean("image"), whole.mean("image"), atol=1e-3)
    assert torch.equal(store.mean("text"), whole.mean("text"))
    again = EmbeddingStore(store.path)
    assert len(again.images("pretrain")) == 5
    assert [record.message for record in caplog.records if "leaves out" in record.message] == [
        f"{store.path} leaves out 2 images that could not be read, and their captions"
    ]


def test_too_many_unreadable_images_are_an_error_that_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "SHARD_ROWS", 4)
    root = make_pictures(tmp_path / "data", broken=(2, 5))
    with pytest.raises(ValueError, match=r"2 of 12 images .*2\.png.*max_unreadable_fraction \(now 0\.05\)"):
        write(root, PixelEncoder())
    allowed = PixelEncoder()
    write(root, allowed, max_unreadable_fraction=0.5)
    assert len(allowed.encoded) == 29  # the texts alone: the images were done
    with pytest.raises(ValueError, match="2 of 12 images"):
        write(root, PixelEncoder(), "second")
    paint(root / "2.png", 2)
    mended = PixelEncoder()
    store = write(root, mended, "second", max_unreadable_fraction=0.5)
    assert len(mended.encoded) == 29 + 4 and store.manifest.unreadable == [5]
    assert torch.equal(store.images("test"), EmbeddingStore(root / "pixels").images("test"))


def test_a_split_of_which_no_image_is_left_is_an_error(tmp_path):
    root = make_pictures(tmp_path / "data", broken=(9, 10, 11))
    with pytest.raises(ValueError, match=r"3 of 12 images .* No image of split 'test' is left"):
        write(root, PixelEncoder(), max_unreadable_fraction=0.9)


@pytest.mark.parametrize("interrupt_after", [3, 7, 12, 20, 35])
def test_an_interrupted_encoding_goes_on_to_the_same_bytes(tmp_path, monkeypatch, interrupt_after):
    monkeypatch.setattr(prepare, "SHARD_ROWS", 3)
    root = make_pictures(tmp_path / "data", broken=(4,))
    options = {"patches": True, "max_unreadable_fraction": 0.1}
    with pytest.raises(KeyboardInterrupt):
        write(root, PixelEncoder(interrupt_after=interrupt_after), **options)
    resumed = write(root, second := PixelEncoder(), **options)
    assert len(second.encoded) <= 11 + 29 - interrupt_after + 3
    whole = write(root, PixelEncoder(), "whole", **options)
    assert contents(resumed) == contents(whole) and resumed.hash == whole.hash


def test_an_interrupt_in_the_clean_up_loses_nothing(tmp_path, monkeypatch):
    root = make_pictures(tmp_path / "data")

    def interrupted(folder, **_):
        if folder.name == "shards":
            next(folder.iterdir()).unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(prepare.shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(root, PixelEncoder())
    assert len(EmbeddingStore(root / "pixels").images("test")) == 3  # readers do not mind what is left
    again = write(root, second := PixelEncoder())
    assert not second.encoded and not (root / "pixels.partial").exists()
    assert contents(again) == contents(write(root, PixelEncoder(), "whole"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), r"images_000000003\.npy is missing: all processes must see the same folder"),
        (lambda path: path.write_bytes(path.read_bytes()[:-7]), r"images_000000003\.npy is not what was written"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"),
            r"images_000000003\.npy is not what was written",
        ),
    ],
)
def test_a_damaged_shard_is_noticed_and_made_anew(tmp_path, monkeypatch, damage, message):
    monkeypatch.setattr(prepare, "SHARD_ROWS", 3)
    root = make_pictures(tmp_path / "data")
    with pytest.raises(KeyboardInterrupt):
        write(root, PixelEncoder(interrupt_after=8))
    damage(root / "pixels.partial" / "shards" / "images_000000003.npy")
    with pytest.raises(ValueError, match=message):
        write(root, PixelEncoder())
    assert contents(write(root, PixelEncoder())) == contents(write(root, PixelEncoder(), "whole"))


def test_patch_tokens_are_kept_beside_the_rows_and_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "PATCH_SHARD_ROWS", 5)
    root = make_pictures(tmp_path / "data", broken=(7,))
    store = write(root, PixelEncoder(), patches=True, max_unreadable_fraction=0.1)
    without = write(root, PixelEncoder(), "without", max_unreadable_fraction=0.1)
    assert (store.manifest.patches, store.manifest.patch_width) == ((4, 12), 3)
    assert without.manifest.patches is None and "patch_width" not in without.manifest.to_json()
    assert torch.equal(store.images("val"), without.images("val"))
    patches, features = store.patches("val"), store.patch_features("val")
    assert patches.shape == (2, 4, 12) and features.shape == (2, 4, 3) and len(patches) == 2
    for row, number in enumerate((6, 8)):
        colours = np.asarray(open_picture(root / f"{number}.png").resize((2, 2), Image.Resampling.BOX), float) + 1
        slow = [colours[y, x] for y in range(2) for x in range(2)]
        assert np.array_equal(features[row], slow)  # whole numbers below 2,048
        slow = [np.tile(place / np.linalg.norm(place) / 2, 4) for place in slow]
        assert np.allclose(patches[np.array([row])][0], slow, atol=1e-3)
    with pytest.raises(ValueError, match=r"has no patch tokens$") as caught:
        without.patches("val")
    assert re.search(r": delete .*without and run .* dataset\.name=data .*patches=true", with_hint(caught.value))
    with pytest.raises(ValueError, match="patches is None there"):
        write(root, PixelEncoder(), "without", patches=True)
    assert write(root, PixelEncoder()).hash == store.hash  # a store with patches will do where none are asked for


def test_patch_tokens_need_images_and_a_grid(tmp_path, make_store):
    write_tables(tmp_path, [], [{"caption_id": "0", "image_row": None, "caption": "text", "split": "train"}])
    with pytest.raises(ValueError, match="no images to give patch tokens"):
        prepare.write_store(tmp_path, PixelEncoder(), "pixels", patches=True)

    class Gridless(PixelEncoder):
        patch_shape, grid_features = Encoder.patch_shape, Encoder.grid_features

    with pytest.raises(ValueError, match="encoder pixels has no patch tokens: set patches=false"):
        write(make_pictures(tmp_path / "data"), Gridless(), patches=True)


@pytest.mark.parametrize("width", [5, 12])
def test_separate_towers_have_no_joint_space_be_their_widths_equal_or_not(tmp_path, width):
    store = write(make_pictures(tmp_path / "data"), PixelEncoder(texts=width, joint=False))
    assert store.images("test").shape == (3, 12) and store.texts("test").shape == (6, width)
    assert (store.manifest.dim_of("images"), store.manifest.dim_of("texts")) == (12, width) and not store.joint
    assert (len(store.mean("image")), len(store.mean("text"))) == (12, width)
    with pytest.raises(ValueError, match=rf"12 dimensions of images and {width} of texts.*choose another encoder="):
        _ = store.dim
    with pytest.raises(ValueError, match="encoder pixels has separate towers"):
        _ = PixelEncoder(texts=width, joint=False).dim
    joint = write(store.path.parent, PixelEncoder(), "joint")
    assert PixelEncoder().dim == joint.dim == 12 and joint.joint and joint.manifest.dims is None
    if width == 12:
        with pytest.raises(ValueError, match="dim is None there, 12 now"):
            write(store.path.parent, PixelEncoder())
    for steps in ([{"step": "Normalize"}, {"step": "Center"}], [{"step": "Normalize"}, {"step": "TextMemory"}]):
        with pytest.raises(ValueError, match="this needs embeddings in a joint space"):
            Alignment.from_store([*steps, {"step": "Normalize"}], STEPS, store)


def test_workers_decode_ahead_and_give_the_same(tmp_path):
    root = make_pictures(tmp_path / "data", broken=(3,))
    paths = [root / f"{number}.png" for number in range(12)]
    encoder = PixelEncoder()
    shards = [range(0, 5), [5, 7], range(8, 12)]
    alone = list(encoder.encode_image_shards(paths, shards, patches=True))
    encoder.workers = 1
    seen: list[int] = []
    helped = list(encoder.encode_image_shards(paths, shards, patches=True, done=seen.append))
    assert sum(seen) == 11 and [len(part.rows) for part in helped] == [4, 2, 4] and helped[0].kept == [0, 1, 2, 4]
    for ours, theirs in zip(alone, helped, strict=True):
        assert torch.equal(ours.rows, theirs.rows) and torch.equal(ours.patches, theirs.patches)
        assert torch.equal(ours.patch_features, theirs.patch_features)
    assert torch.equal(alone[1].rows, F.normalize(encoder.encode_images([paths[5], paths[7]]), dim=-1))


def shared_work(root: Path, processes: Processes) -> dict:
    """What each process of the test below does."""
    prepare.SHARD_ROWS = 3
    options = {"patches": True, "max_unreadable_fraction": 0.1, "processes": processes}
    found = {"count": processes.count}
    own = PixelEncoder()
    write(root, own, "shared", **options)
    write(root, rest := PixelEncoder(), "resumed", **options)
    found |= {"shared": len(own.encoded), "resumed": len(rest.encoded)}
    try:
        write(root, PixelEncoder(nan_at="5 1" if processes.rank == 1 else None), "failing", **options)
    except ValueError as error:
        found["error"] = str(error)
    prepare.SHARD_ROWS = 100  # fewer shards than processes
    write(root, PixelEncoder(), "single", **options)
    return found


def test_two_processes_share_the_work_and_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "SHARD_ROWS", 3)
    root = make_pictures(tmp_path / "data", broken=(4,))
    options = {"patches": True, "max_unreadable_fraction": 0.1}
    alone = write(root, PixelEncoder(), "alone", **options)
    with pytest.raises(KeyboardInterrupt):
        write(root, PixelEncoder(interrupt_after=25), "resumed", **options)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*torchrun, __file__, str(root)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((root / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first["count"] == second["count"] == 2
    assert first["shared"] + second["shared"] == 11 + 29 and min(first["shared"], second["shared"]) > 15
    assert first["resumed"] + second["resumed"] < 11 + 29 - 20
    for name in ("shared", "resumed", "single"):
        store = EmbeddingStore(root / name)
        assert contents(store) == contents(alone) and store.hash == alone.hash
    assert second["error"] == "The embedding of caption '5_1' is not finite: look at that file or caption"
    assert first["error"] == f"Stopped because of process 1: ValueError: {second['error']}"
    assert contents(write(root, last := PixelEncoder(), "failing", **options)) == contents(alone)
    assert len(last.encoded) < 29


class WideEncoder(Encoder):
    """Rows of 512 random values, whatever the text."""

    def __init__(self):
        super().__init__(batch_size=4096, device="cpu")
        self.dims = {"images": 512, "texts": 512}
        self.description = {"name": "wide"}

    def encode_texts(self, texts, done):
        return torch.randn(len(texts), 512)


def million_captions(root: Path) -> None:
    """Prepare a million captions and print how much memory that took, in MiB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    captions = (
        {"caption_id": f"c{n}", "image_row": None, "caption": f"a caption of common length with number {n}", "split": s}
        for s, numbers in (("train", range(900_000)), ("val", range(900_000, 1_000_000)))
        for n in numbers
    )
    write_tables(root, [], captions)
    prepare.write_store(root, WideEncoder(), "wide", "train", None)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


@pytest.mark.slow
def test_a_million_captions_take_less_than_a_gibibyte_of_memory(tmp_path):
    """Their rows alone are 2 GiB in float32."""
    command = [sys.executable, __file__, str(tmp_path / "data"), "million"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(np.load(tmp_path / "data/wide/texts.npy", mmap_mode="r")) == 1_000_000
    assert float(done.stdout.splitlines()[-1]) < 1024


if __name__ == "__main__":
    if "million" in sys.argv:
        million_captions(Path(sys.argv[1]))
    else:
        mine = Processes()
        figures = shared_work(Path(sys.argv[1]), mine)
        (Path(sys.argv[1]) / f"rank{mine.rank}.json").write_text(json.dumps(figures))


class AutomaticEncoder(PixelEncoder):
    """One whose precision was left to the hardware, or asked for."""

    def __init__(self, precision: str, asked_for: str = "auto", **options):
        super().__init__(**options)
        self.precision, self.requested_precision = precision, asked_for
        self.description["precision"] = precision


def test_other_hardware_goes_on_with_a_store_and_reuses_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prepare, "SHARD_ROWS", 4)
    root = make_pictures(tmp_path / "data")
    with pytest.raises(KeyboardInterrupt):
        write(root, AutomaticEncoder("bf16", interrupt_after=8))
    goes_on = AutomaticEncoder("fp32")
    store = write(root, goes_on)
    assert len(goes_on.encoded) < 12 + 29  # what was encoded in bf16 is kept
    assert store.manifest.encoder["precision"] == "bf16"
    assert "begun in bf16, which auto is not on this machine (fp32)" in capsys.readouterr().err
    again = AutomaticEncoder("fp32")
    assert write(root, again).hash == store.hash and not again.encoded
    with pytest.raises(ValueError, match="holds other embeddings"):
        write(root, AutomaticEncoder("fp32", asked_for="fp32"))
