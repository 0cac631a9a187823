"""Only uploads are read: neither files of this machine nor addresses, however a request names them."""

from __future__ import annotations

import asyncio
import json

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient

from web_app import bodies, guard
from web_app.arrivals import Arrivals
from web_app.guard import OnlyUploads, checked_body
from web_app.uploads import Upload
from web_app.visitors import Visitors

META = {"_type": "gradio.FileData"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "dog.png").write_bytes(b"x")
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "uploads" / "link").symlink_to(tmp_path / "secret")
    return tmp_path / "uploads"


@pytest.fixture
def client(folder):
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT"])
    async def echo(request: Request) -> dict:
        return {"body": (await request.body()).decode()}

    return TestClient(OnlyUploads(app, Visitors(Arrivals(folder, "image", 9), {})))


@pytest.mark.parametrize(
    "path",
    [
        "/etc/hostname", "uploads/dog.png", "{folder}", "{folder}/../secret", "{folder}/link", "{folder}x/dog.png", "",
        "https://example.invalid/a.png", "http:/a", "data:image/png;base64,AA", "file:///etc/hostname", "a\0b", 3, None,
        ["/etc/hostname"],
    ],
)  # fmt: skip
def test_a_path_that_is_no_upload_is_refused(folder, client, path):
    path = path.format(folder=folder) if isinstance(path, str) else path
    for entry in ({"path": path, "meta": META, "url": "http://a/b"}, [{"x": [{"path": path, "url": "data:,"}]}]):
        answer = client.post("/gradio_api/queue/join", json={"data": [entry]})
        assert answer.status_code == 422 and "no other file or address is read" in answer.json()["detail"]


def test_an_address_without_a_path_is_refused(client):
    assert client.put("/anything", json={"url": "https://example.invalid"}).status_code == 422


def test_uploads_pass_without_their_address(folder, client):
    entry = {"path": str(folder / "dog.png"), "orig_name": "hündchen.png", "meta": META}
    sent = {"data": [{**entry, "url": "https://example.invalid/dog.png"}, 1.5, None, "\ud83d"], "fn_index": 0}
    answer = client.post("/gradio_api/queue/join", content=json.dumps(sent))
    assert json.loads(answer.json()["body"]) == {**sent, "data": [entry, *sent["data"][1:]]}
    assert client.get("/gradio_api/file=/etc/hostname").status_code == 200  # gradio's to check: it has no body
    assert client.post("/gradio_api/reset").json() == {"body": ""}
    assert client.post("/api/captions", content=b"{").json() == {"body": "{"}
    assert client.post("/gradio_api/upload", content=b"PNG").json() == {"body": "PNG"}


def test_of_a_name_that_is_there_twice_the_last_is_checked_and_passed(folder):
    body = f'{{"path": "{folder}/dog.png", "path": "/etc/hostname"}}'.encode()
    with pytest.raises(ValueError, match="uploaded"):
        checked_body(body, folder)
    body = f'{{"path": "/etc/hostname", "path": "{folder}/dog.png"}}'.encode()
    assert b"hostname" not in checked_body(body, folder).body


def test_what_is_no_json_or_too_large_is_refused(client, monkeypatch):
    for content in (b"{", b"[" * 100_000, b"--x\r\n"):
        assert client.post("/gradio_api/process_recording", content=content).status_code == 422
    deep = b"[" * 900 + b"]" * 900
    assert client.post("/gradio_api/queue/join", content=deep).status_code in (200, 422)
    monkeypatch.setattr(guard, "MOST_BYTES", 10)
    assert client.post("/gradio_api/queue/join", content=iter([b"[1, 2,", b" 3, 4]"])).status_code == 413


def test_a_body_that_does_not_come_is_no_longer_waited_for(folder, monkeypatch):
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    sent = []

    async def never() -> dict:
        await asyncio.sleep(60)
        return {}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/gradio_api/queue/join", "headers": []}
    asyncio.run(OnlyUploads(None, Visitors(Arrivals(folder, "image", 9), {}))(scope, never, send))
    assert sent[0]["status"] == 408


def test_a_body_says_whose_files_it_names(folder):
    entry = {"path": str(folder / "dog.png"), "meta": META}
    asked = checked_body(json.dumps({"data": [[entry], entry], "session_hash": "s"}).encode(), folder)
    assert asked.paths == [folder / "dog.png"] * 2 and asked.session == "s"
    assert checked_body(b"", folder).session == checked_body(b'{"session_hash": 3}', folder).session == ""


def test_a_request_that_is_refused_leaves_no_file_and_neither_does_a_visitor_who_left(tmp_path):
    arrivals = Arrivals(tmp_path / "uploads", "image", 9)
    states = {"me": "my embedding"}
    app = FastAPI()

    @app.post("/gradio_api/queue/join")
    async def join(request: Request, response: Response) -> None:
        response.status_code = (await request.json())["status"]

    @app.get("/gradio_api/heartbeat/{session}")
    async def heartbeat(session: str) -> None:
        """A connection that ends at once."""

    client = TestClient(OnlyUploads(app, Visitors(arrivals, states)))
    for status, stays in ((200, True), (503, False)):
        path = arrivals.add(Upload("dog.png", b"x"))
        body = {"data": [{"path": str(path), "meta": META}], "session_hash": "me", "status": status}
        assert client.post("/gradio_api/queue/join", json=body).status_code == status
        assert path.exists() == stays
    client.get("/gradio_api/heartbeat/another")
    assert list(arrivals.folder.iterdir()) and states
    client.get("/gradio_api/heartbeat/me")
    assert not list(arrivals.folder.iterdir()) and not states
