"""The server: an address that cannot be had, what it sends, and that no file of a visitor stays."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from web_app import arrivals, serve
from web_app.handlers import Handlers
from web_app.serve import FILES_PER_PLACE, listen, make_app, prepare_gradio, sample_file, warm_up
from web_app.uploads import Limits


@pytest.fixture
def app(desk, tmp_path, monkeypatch):
    """The whole application, with files of visitors in a folder of the test's."""
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "GRADIO_RUN_HISTORY"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # restored afterwards
    prepare_gradio(tmp_path)
    monkeypatch.setattr(serve, "SWEEP_SECONDS", 0.1)
    return make_app(Handlers(desk, Limits(upload_mb=1)), 4)


def kept(tmp_path) -> list[Path]:
    """All in the folder of waiting files, and all files that gradio has beside it."""
    waiting = list((tmp_path / "uploads" / "waiting").rglob("*"))
    return waiting + [path for path in (tmp_path / "uploads").rglob("*") if path.is_file() and path not in waiting]


def send(client: TestClient, content: bytes, name: str = "dog.png") -> str:
    answer = client.post("/gradio_api/upload?upload_id=a", files={"files": (name, content)})
    assert answer.status_code == 200
    return answer.json()[0]


def test_uploads_whose_request_never_comes_are_deleted_soon_and_what_is_left_at_the_end(
    app, picture, tmp_path, monkeypatch
):
    content = picture(tmp_path / "a.png").read_bytes()
    monkeypatch.setattr(arrivals, "UNASKED_SECONDS", 0.3)
    with TestClient(app) as client:
        path = Path(send(client, content))
        assert path.read_bytes() == content
        deadline = time.monotonic() + 20
        while kept(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert kept(tmp_path) == []
        monkeypatch.setattr(arrivals, "UNASKED_SECONDS", 60)
        send(client, content)
        assert kept(tmp_path)
    assert kept(tmp_path) == []


def test_uploads_that_are_too_large_or_no_form_or_too_many_are_refused(app, tmp_path):
    with TestClient(app) as client:
        for size in (2**20 + 1, 2**21):
            answer = client.post("/gradio_api/upload", files={"files": ("big.png", b"x" * size)})
            assert answer.status_code == 413 and "max_upload_mb=1 is the limit" in answer.text
        assert client.post("/gradio_api/upload", content=iter([b"x"])).status_code == 411
        assert client.post("/gradio_api/upload", content=b"x").status_code == 400
        two = [("files", ("a.png", b"x")), ("files", ("b.png", b"x"))]
        assert client.post("/gradio_api/upload", files=two).status_code == 400
        for _ in range(FILES_PER_PLACE * 4):
            send(client, b"x")
        answer = client.post("/gradio_api/upload", files={"files": ("a.png", b"x")})
        assert answer.status_code == 503 and "16 files wait already" in answer.text
        assert client.get("/gradio_api/upload_progress?upload_id=a").status_code == 204
        assert client.get("/gradio_api/deep_link?session_hash=s").status_code == 404


def test_no_file_of_a_visitor_is_there_after_the_answer_and_no_session_after_the_visit(app, picture, tmp_path):
    file = {"meta": {"_type": "gradio.FileData"}, "orig_name": "dog.png"}
    with TestClient(app) as client:
        assert client.get("/config").json()["connect_heartbeat"]  # by whose end the visitor's leaving is noticed
        for name, content in (("dog.png", picture(tmp_path / "a.png").read_bytes()), ("cat.png", b"no picture")):
            status, said = ask(client, {**file, "path": send(client, content, name)})
            assert status == 200 and name in said and kept(tmp_path) == []
        assert (
            "data:image/jpeg"
            in ask(client, {**file, "path": send(client, picture(tmp_path / "b.png").read_bytes())})[1]
        )
        sessions = next(route.app for route in app.app.app.routes if hasattr(route, "app")).state_holder.session_data
        assert "s" in sessions
        app.app.visitors.left("s")
        assert "s" not in sessions


def ask(client: TestClient, entry: dict) -> tuple[int, str]:
    """What the page's handler of a new file answers, by the queue as browsers use it: (status, the stream's text)."""
    config = client.get("/config").json()
    function = next(each for each in config["dependencies"] if len(each["inputs"]) == 4 and len(each["outputs"]) == 9)
    body = {"data": [entry, "memory_bridge", 100, 1], "fn_index": function["id"], "session_hash": "s"}
    joined = client.post("/gradio_api/queue/join", json={**body, "trigger_id": None, "event_data": None})
    if joined.status_code != 200:
        return joined.status_code, joined.text
    return 200, client.get("/gradio_api/queue/data", params={"session_hash": "s"}).text


def test_files_of_this_machine_and_addresses_are_not_read(app, picture, tmp_path):
    secret = picture(tmp_path / "secret.png", seed=9)
    uploaded = picture(tmp_path / "a.png").read_bytes()
    copies = tmp_path / "uploads"
    with TestClient(app) as client:
        path = send(client, uploaded)
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
