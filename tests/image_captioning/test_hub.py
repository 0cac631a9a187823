"""Sharing a captioner: its card, and loading it by folder or Hub id in a process that knows nothing else."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

from common.paths import PRETRAINED, ROOT
from evaluation.captions.result import EvaluatedOn, EvaluationResult
from image_captioning import model_card
from image_captioning.captioner import Captioner
from image_captioning.export import export
from image_captioning.model_card import CardOptions, read_card, write_card

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCORES = EvaluationResult(
    metrics={"CIDEr": 47.123, "BLEU-4": 18.5, "SPICE": None},
    unavailable={"SPICE": "no Java"},
    images=1000,
    split="test",
    evaluated_on=EvaluatedOn("photos_set"),
    decoding={"strategy": "beam", "beams": 3, "max_new_tokens": 40},
)


@pytest.fixture
def folder(make_captioner, tmp_path) -> Path:
    make_captioner().save_pretrained(tmp_path / "mine")
    return tmp_path / "mine"


def write(folder: Path, scores=SCORES, before=None, **options) -> ModelCard:
    captioner = Captioner.load(folder).cpu()
    captioner.provenance |= {"dataset": "photos_set", "captions": 15000, "alignment": "c3", "train_on": "text"}
    write_card(folder, captioner, {"command": "python x", "commit": "abc"}, scores, CardOptions(**options), before)
    return ModelCard.load(folder / "README.md")


def test_a_card_has_what_the_hub_reads(folder):
    data = write(folder, license="mit", language="en", datasets=["me/photos"], repo="me/mine").data.to_dict()
    assert {name: data[name] for name in ("license", "language", "library_name", "pipeline_tag", "datasets")} == {
        "license": "mit", "language": "en", "library_name": "diffusion-bridge", "pipeline_tag": "image-to-text",
        "datasets": ["me/photos"],
    }  # fmt: skip
    assert data["tags"] == ["image-captioning", "modality-gap", "zero-shot", "text-only-training"]
    [index] = data["model-index"]
    [result] = index["results"]
    assert index["name"] == "mine" and result["task"]["type"] == "image-to-text"
    assert result["dataset"] == {"name": "photos_set", "type": "photos_set", "split": "test"}
    assert [(metric["type"], metric["name"], metric["value"]) for metric in result["metrics"]] == [
        ("cider", "CIDEr", 47.12),
        ("bleu", "BLEU-4", 18.5),
    ]
    assert all(entry["src"].startswith("https://") for entry in data["widget"])


def test_a_card_tells_a_reader_what_it_learned_from_and_how_it_is_used(folder):
    text = write(folder, repo="me/mine").text
    for line in (
        "| learned from | text only |", "| captions | 15,000 |", "1,000 images, split test of photos_set, beam3.",
        "| CIDEr | 47.1 |", "SPICE could not run (no Java).", 'Captioner.from_pretrained("me/mine")', "`python x`",
        "License: the exporter named none.",
    ):  # fmt: skip
        assert line in text, line
    assert "## Metrics" not in write(folder, scores=None).text
    assert write(folder, scores=None).data.license == "unknown"


@pytest.mark.parametrize(
    ("provenance", "tagged", "learned"),
    [
        ({}, True, "learned to write from text, without a pair, trained"),
        ({"validate_on": "pairs"}, False, "from text; image-text pairs chose among its weights, trained"),
        ({"train_on": "pairs", "validate_on": "pairs"}, False, "from image-text pairs, trained"),
    ],
)
def test_a_card_says_what_pairs_did(folder, provenance, tagged, learned):
    captioner = Captioner.load(folder).cpu()
    captioner.provenance |= provenance
    write_card(folder, captioner, {}, None, CardOptions(), None)
    card = ModelCard.load(folder / "README.md")
    assert ({"zero-shot", "text-only-training"} <= set(card.data.to_dict()["tags"])) == tagged
    assert learned in card.text and ("without a pair" in card.text) == tagged


def test_what_somebody_wrote_stays_under_new_metadata(folder, capsys):
    assert read_card(folder) is None  # the empty card of huggingface_hub
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n\nBy hand.\n")
    before = read_card(folder)
    card = write(folder, before=before, license="apache-2.0")
    assert card.text.strip() == "# Mine\n\nBy hand." and card.data.license == "apache-2.0"
    assert "its text is kept" in capsys.readouterr().out
    (folder / "README.md").write_text("plain text\n")
    assert write(folder, before=read_card(folder)).text.strip() == "plain text"
    write(folder)
    assert model_card.MARK in (folder / "README.md").read_text() and read_card(folder) is None


def test_an_export_writes_the_card_and_renews_it_alone(folder, compose, tmp_path):
    to = tmp_path / "shared"
    words = [f"checkpoint={folder}", f"to={to}"]
    export(compose("export", *words, "card.license=mit"))
    card = (to / "README.md").read_text()
    assert "license: mit" in card and model_card.MARK in card
    kept = {path.name: path.read_bytes() for path in to.iterdir() if path.name != "README.md"}
    again = [f"checkpoint={to}", f"to={to}", "card_only=true"]
    export(compose("export", *again, "card.license=apache-2.0", "card.repo=me/shared"))
    assert ModelCard.load(to / "README.md").data.license == "apache-2.0"
    assert {path.name: path.read_bytes() for path in to.iterdir() if path.name != "README.md"} == kept
    for words, error, reason in (
        ([f"checkpoint={folder}", f"to={to}", "card_only=true"], ValueError, "name it twice"),
        ([*again, "image_side.temperature=1.0"], ValueError, "image_side.temperature changes them"),
        ([f"checkpoint={folder}", f"to={folder}", "card_only=true"], FileNotFoundError, "No manifest.json"),
    ):
        with pytest.raises(error, match=reason):
            export(compose("export", *words))


@pytest.mark.parametrize("name", ["photos", "sounds", "videos"])
def test_shipped_captioners_have_cards_that_the_hub_can_read(name):
    card = ModelCard.load(PRETRAINED / name / "README.md")
    scores = json.loads((PRETRAINED / name / "manifest.json").read_text())["scores"]
    assert card.data.license == "mit" and card.data.library_name == "diffusion-bridge"
    values = {result.metric_name: result.metric_value for result in card.data.eval_results or []}
    assert values["CIDEr"] == round(scores["metrics"]["CIDEr"], 2)


def test_from_pretrained_is_load(folder, make_captioner):
    loaded, rows = Captioner.from_pretrained(folder), torch.eye(8)
    assert loaded.folder == folder and not loaded.training
    assert loaded.caption(rows, progress=False) == make_captioner().caption(rows, progress=False)
    with pytest.raises(TypeError, match="dim"):
        Captioner.from_pretrained(folder, dim=5)  # pyright: ignore[reportCallIssue]


def test_a_hub_id_is_read_from_the_cache_without_a_network(folder, tmp_path):
    cached = tmp_path / "cache" / "models--me--mine"
    shutil.copytree(folder, cached / "snapshots" / COMMIT)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT)
    loaded = Captioner.from_pretrained("me/mine", cache_dir=tmp_path / "cache", local_files_only=True)
    assert loaded.folder == cached / "snapshots" / COMMIT
    with pytest.raises(FileNotFoundError, match=r"No captioner in me/other: .*the Hugging Face Hub did not give it"):
        Captioner.from_pretrained("me/other", cache_dir=tmp_path / "cache", local_files_only=True)


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as a download asks: the files of a commit, and each file."""

    def __init__(self, folder: Path, asked: list[str], *arguments):
        self.folder, self.asked = folder, asked
        super().__init__(*arguments)

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        files = sorted(file.name for file in self.folder.iterdir())
        if path.startswith("/api/models/me/mine/tree/"):
            entries = [{"type": "file", "path": name, "oid": name, "size": 1} for name in files]
            return self.send(json.dumps(entries).encode(), body)
        if path.startswith("/api/models/me/mine"):
            siblings = [{"rfilename": name} for name in files]
            return self.send(json.dumps({"id": "me/mine", "sha": COMMIT, "siblings": siblings}).encode(), body)
        name = path.rpartition("/")[2]
        if path.startswith("/me/mine/resolve/") and name in files:
            return self.send((self.folder / name).read_bytes(), body, {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT})
        self.send_error(404)

    def send(self, content: bytes, body: bool, headers: dict[str, str] | None = None) -> None:
        self.send_response(200)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(folder):
    """(address of a stand-in for the Hub that has `folder` as me/mine, what it was asked for)."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, folder, asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def in_a_fresh_process(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_fresh_process_downloads_a_hub_id(folder, make_captioner, hub, tmp_path):
    address, asked = hub
    program = """
import torch
from image_captioning.captioner import Captioner
print(Captioner.from_pretrained("me/mine").cpu().caption(torch.eye(8), progress=False))
"""
    environment = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    said = in_a_fresh_process(program, HF_HUB_OFFLINE="0", **environment)
    assert said.strip() == str(make_captioner().caption(torch.eye(8), progress=False))
    fetched = {path.rpartition("/")[2] for path in asked if "/resolve/" in path}
    assert fetched == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    asked.clear()
    assert in_a_fresh_process(program, HF_HUB_OFFLINE="1", **environment) == said and not asked


@pytest.mark.slow
def test_the_snippet_of_a_card_captions_a_photo_in_a_fresh_process(compose, tmp_path):
    export(compose("export", "checkpoint=photos", f"to={tmp_path / 'shared'}"))
    Image.new("RGB", (300, 200), "seagreen").save(tmp_path / "photo.jpg")
    [snippet] = re.findall(r"```python\n(.+?)```", (tmp_path / "shared" / "README.md").read_text(), re.DOTALL)
    assert len([line for line in snippet.splitlines() if line]) == 5
    said = in_a_fresh_process(f"import os; os.chdir({str(tmp_path)!r})\n{snippet}", HF_HUB_OFFLINE="1")
    [caption] = ast.literal_eval(said)
    assert len(caption.split()) > 3
