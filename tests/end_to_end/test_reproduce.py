"""scripts/reproduce.py on a miniature COCO: its own files' formats, from a local server that breaks off in the middle,
with a random CLIP and a random GPT-2 in the layout of the Hub's cache."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.model import CLIP
from PIL import Image
from safetensors.torch import save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from comparison.reproduce.result import Reproduction

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "0" * 40
WORDS = ("dog", "cat", "boat", "tree")
PLACES = ("beach", "street", "hill")


class Server(ThreadingHTTPServer):
    """Serves `files`; of those named in `broken`, the first half alone. ranges: what was asked for of each."""

    def __init__(self, files: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.broken, self.ranges = files, set(), []


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def do_GET(self):
        server, name = self.server, self.path[1:]
        assert isinstance(server, Server)
        body, wanted = server.files[name], self.headers.get("Range")
        server.ranges.append((name, wanted))
        start = int(wanted[6:-1]) if wanted else 0
        self.send_response(206 if start else 200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if name in server.broken:
            if not start:
                self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self.wfile.write(body[start:])

    def log_message(self, *_):
        pass


def mini_coco() -> dict[str, bytes]:
    """The three archives of COCO 2014 in Karpathy's splits, with ten photos of 5 captions each."""
    random, entries = np.random.default_rng(0), []
    photos: dict[str, dict[str, bytes]] = {"train2014": {}, "val2014": {}}
    for number in range(10):
        split = ("train", "train", "train", "train", "restval", "restval", "val", "val", "test", "test")[number]
        folder = "train2014" if split == "train" else "val2014"
        name, cocoid = f"COCO_{folder}_{number:012d}.jpg", 100 + number
        pixels = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((80, 60))
        buffer = io.BytesIO()
        pixels.save(buffer, "jpeg")
        photos[folder][f"{folder}/{name}"] = buffer.getvalue() + b"\0" * 20_000  # so that half an archive is something
        thing, place = WORDS[number % 4], PLACES[number % 3]
        captions = [
            f"{a} {thing} on {b} {place}." for a, b in zip(("A", "The", "One", "A", "Some"), "aathe", strict=True)
        ]
        sentences = [
            {"tokens": raw.lower().strip(".").split(), "raw": raw, "imgid": number, "sentid": 5 * number + n}
            for n, raw in enumerate(captions)
        ]
        entries.append(
            {
                "filepath": folder, "filename": name, "imgid": number, "cocoid": cocoid, "split": split,
                "sentids": [5 * number + n for n in range(5)], "sentences": sentences,
            }
        )  # fmt: skip
    splits = json.dumps({"images": entries, "dataset": "coco"}).encode()
    other = {"dataset_flickr8k.json": b"{}"}
    return {
        "caption_datasets.zip": zipped({"dataset_coco.json": splits, **other}),
        "val2014.zip": zipped(photos["val2014"]),
        "train2014.zip": zipped(photos["train2014"]),
    }


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def hub_folder(home: Path, repository: str) -> Path:
    """The folder of a model's one snapshot in the Hub's cache."""
    root = home / "hub" / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    snapshot = root / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    return snapshot


def put_clip(folder: Path) -> None:
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    config = {"embed_dim": 16, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    torch.manual_seed(0)
    save_file(CLIP(**json.loads(json.dumps(config))).state_dict(), folder / "open_clip_model.safetensors")
    preprocess = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
    content = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(content))


def put_gpt2(folder: Path) -> None:
    bpe = ByteLevelBPETokenizer()
    corpus = [f"A {thing} on a {place}." for thing in WORDS for place in PLACES]
    bpe.train_from_iterator(corpus * 3, vocab_size=320, special_tokens=["<|endoftext|>"])
    end = bpe.token_to_id("<|endoftext|>")
    config = GPT2Config(vocab_size=bpe.get_vocab_size(), n_embd=16, n_layer=1, n_head=2, n_positions=96,
                        bos_token_id=end, eos_token_id=end)  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    bpe.save(str(folder / "tokenizer.json"))


@pytest.fixture
def server():
    with Server(mini_coco()) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.java
def test_a_table_is_run_again_from_download_to_numbers(server, tmp_path):
    put_clip(hub_folder(tmp_path / "hub_home", "tiny/clip"))
    put_gpt2(hub_folder(tmp_path / "hub_home", "gpt2"))
    downloads = [
        {
            "url": f"http://127.0.0.1:{server.server_port}/{name}",
            "md5": hashlib.md5(body).hexdigest(),
            "unpack": ["dataset_coco.json"] if name.startswith("caption") else [f"{name[:-4]}/*.jpg"],
        }
        for name, body in server.files.items()
    ]
    steps = ["loop.precision=fp32", "loop.checkpoint_every=2", "loop.evaluate_every=2"]
    options = {
        "prepare_data": [
            f"dataset.downloads={_hydra(downloads)}", "encoder.model=hf-hub:tiny/clip", "encoder.pretrained=null",
            "encoder.workers=0", "encoder.precision=fp32",
        ],
        "ddpm": [*steps, "loop.steps=4", "loop.batch_size=8", "denoiser.width=8", "denoiser.multipliers=[1,2]"],
        "image_captioning": [*steps, "epochs=1", "loop.warmup_steps=1", "loop.batch_size=8"],
        "eval_coco": ["metrics=[BLEU,CIDEr]", "decoding.max_new_tokens=8"],
    }  # fmt: skip
    command = [sys.executable, str(ROOT / "scripts" / "reproduce.py"), "table=diffusion_bridge_coco"]
    command += ["check_machine=false", *(f"{stage}={_hydra(values)}" for stage, values in options.items())]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGINGFACE"))}
    environment = {
        **clean, "HF_HOME": str(tmp_path / "hub_home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT),
        "DIFFUSION_BRIDGE_DATA": str(tmp_path / "data"), "no_proxy": "127.0.0.1",
    }  # fmt: skip

    def run(*more: str) -> subprocess.CompletedProcess:
        return subprocess.run([*command, *more], cwd=tmp_path, env=environment, capture_output=True, text=True)

    dry = run("dry_run=true")
    assert dry.returncode == 0, dry.stderr
    assert "in the cache of the Hugging Face Hub" in dry.stdout and dry.stdout.count("to do") == 4
    assert not (tmp_path / "data").exists() and not server.ranges

    server.broken = {"train2014.zip"}
    broken = run()
    assert broken.returncode == 1 and "train2014.zip cannot be fetched" in broken.stderr, broken.stderr
    partial = tmp_path / "data/coco/train2014.zip.partial"
    half = len(server.files["train2014.zip"]) // 2
    assert partial.stat().st_size == half and not (tmp_path / "outputs/ddpm").exists()

    server.broken, server.ranges = set(), []
    whole = run()
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert server.ranges == [("train2014.zip", f"bytes={half}-")]
    result = Reproduction.from_json(
        json.loads((tmp_path / "outputs/reproduce/diffusion_bridge_coco/result.json").read_text())
    )
    assert [(stage.stage, stage.skipped) for stage in result.stages] == [
        ("prepare_data", False), ("ddpm", False), ("image_captioning", False), ("eval_coco", False),
    ]  # fmt: skip
    [row] = result.rows
    assert set(row.ours) >= {"BLEU-1", "BLEU-4", "CIDEr"} and row.difference["CIDEr"] == pytest.approx(
        row.ours["CIDEr"][0] - 96.4, abs=1e-4
    )
    manifest = json.loads((tmp_path / "data/coco/ViT-B-32-quickgelu.openai/manifest.json").read_text())
    assert manifest["rows"] == {"images": 10, "texts": 50}
    for words in ("published", "difference", "Known to differ:", "NOT THE TABLE'S SETTINGS", "second-hand"):
        assert words in whole.stdout

    # A captioner that is not finished is trained, its evaluation compares for itself; what was done before is skipped.
    captioner = tmp_path / "outputs/image_captioning/coco_diffusion_bridge_reference_seed0"
    (captioner / "finished.json").unlink()
    again = run()
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count(": done already, ") == 2 and "[3/4] image_captioning" in again.stdout
    last = run()
    assert last.returncode == 0, last.stdout + last.stderr
    assert last.stdout.count(": done already, ") == 4 and "Nothing more is needed." in last.stdout


def _hydra(value: object) -> str:
    """A list or mapping in Hydra's grammar, text in single quotes."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_hydra(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_hydra, value)) + "]"
    escaped = str(value).replace("\\'", "\\\\'").replace("'", "\\'")
    return f"'{escaped}'"
