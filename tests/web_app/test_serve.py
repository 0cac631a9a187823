"""The server: an address that cannot be had, what it sends, and that no file of a visitor stays."""

from __future__ import annotations

import os
import re
import time

import pytest
from fastapi.testclient import TestClient

from web_app import page
from web_app.handlers import Handlers
from web_app.serve import listen, make_app, prepare_gradio, sample_file, warm_up
from web_app.uploads import Limits


@pytest.fixture
def app(desk, tmp_path, monkeypatch, request):
    """The whole application, with files of visitors in a folder of the test's, for `request.param` seconds."""
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "GRADIO_RUN_HISTORY"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # restored afterwards
    prepare_gradio(tmp_path)
    monkeypatch.setattr(page, "SWEEP_SECONDS", 1)
    monkeypatch.setattr(page, "AGE_SECONDS", getattr(request, "param", 1))
    return make_app(Handlers(desk, Limits(upload_mb=1)), 4)


def test_uploads_are_deleted_soon_and_what_is_left_at_the_end(app, picture, tmp_path):
    content = picture(tmp_path / "a.png").read_bytes()
    with TestClient(app) as client:
        answer = client.post("/gradio_api/upload", files={"files": ("dog.png", content)})
        assert answer.status_code == 200
        kept = [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]
        assert [path.name for path in kept] == ["dog.png"]
        deadline = time.monotonic() + 20
        while kept[0].exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not kept[0].exists()
        client.post("/gradio_api/upload", files={"files": ("cat.png", content)})
    assert not [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]


def test_uploads_that_are_too_large_are_refused(app):
    with TestClient(app) as client:
        answer = client.post("/gradio_api/upload", files={"files": ("big.png", b"x" * (2**20 + 1))})
        assert answer.status_code == 413


def ask(client: TestClient, entry: dict) -> tuple[int, str]:
    """What the page's handler of a new file answers, by the queue as browsers use it: (status, the stream's text)."""
    config = client.get("/config").json()
    function = next(each for each in config["dependencies"] if len(each["inputs"]) == 4 and len(each["outputs"]) == 9)
    body = {"data": [entry, "memory_bridge", 100, 1], "fn_index": function["id"], "session_hash": "s"}
    joined = client.post("/gradio_api/queue/join", json={**body, "trigger_id": None, "event_data": None})
    if joined.status_code != 200:
        return joined.status_code, joined.text
    return 200, client.get("/gradio_api/queue/data", params={"session_hash": "s"}).text


@pytest.mark.parametrize("app", [300], indirect=True)
def test_files_of_this_machine_and_addresses_are_not_read(app, picture, tmp_path):
    secret = picture(tmp_path / "secret.png", seed=9)
    uploaded = picture(tmp_path / "a.png").read_bytes()
    copies = tmp_path / "uploads"
    with TestClient(app) as client:
        path = client.post("/gradio_api/upload", files={"files": ("dog.png", uploaded)}).json()[0]
        file = {"meta": {"_type": "gradio.FileData"}, "orig_name": "dog.png"}
        for wrong in (str(secret), "/etc/hostname", "https://127.0.0.1:9/a.png", "file:///etc/hostname"):
            status, said = ask(client, {**file, "path": wrong})
            assert status == 422 and "no other file or address is read" in said
        status, said = ask(client, {**file, "path": path, "url": f"http://testserver/gradio_api/file={path}"})
        assert status == 200 and "<table>" in said and "dog.png" in said
    with TestClient(app.app.app) as unguarded:  # gradio checks, too
        status, said = ask(unguarded, {**file, "path": str(secret)})
        assert "<table>" not in said and '"success":false' in said
        assert not list(copies.rglob("secret.png"))


def test_the_page_fetches_nothing_from_elsewhere(app):
    with TestClient(app) as client:
        home = client.get("/")
        assert home.status_code == 200 and "default-src 'self'" in home.headers["content-security-policy"]
        assert "fonts.googleapis" not in home.text
        assert client.get("/api/methods").headers["referrer-policy"] == "no-referrer"
        config = client.get("/config").json()
        assert config["analytics_enabled"] is False
        assert not [each for each in config["dependencies"] if each["api_visibility"] == "public"]
        assert "http" not in re.sub(r"http://(www\.w3\.org|testserver)", "", client.get("/theme.css").text)


def test_an_address_that_is_taken_is_refused_before_anything_is_loaded():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert taken.getsockname()[0] == "127.0.0.1"
        with pytest.raises(ValueError, match=rf"host=127.0.0.1 port={port}: .*give another port="):
            listen("127.0.0.1", port)
    with pytest.raises(ValueError, match=r"host=nowhere\.invalid"):
        listen("nowhere.invalid", 0)


def test_it_listens_on_this_machine_alone_by_default(web_config):
    config = web_config()
    assert config.host == "127.0.0.1" and config.checkpoint == "photos" and config.draw_with == "demo_painter"
    with pytest.raises(ValueError, match="port=70000 must be"):
        web_config("port=70000")


def test_warming_up_leaves_nothing(handlers, tmp_path):
    assert warm_up(handlers, tmp_path) < 60
    for medium in ("image", "sound", "video"):
        assert sample_file(tmp_path, medium).stat().st_size > 1000
