"""The endpoint: batches in, captions out, a sentence with a 4xx for wrong input, and no request lost."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from embedding_space.encoders.base import EncodedImages
from web_app import bodies
from web_app.endpoint import Batch, caption_routes
from web_app.serve import listen
from web_app.uploads import Limits, Upload


@pytest.fixture(scope="module")
def client(desk) -> TestClient:
    app = FastAPI()
    app.include_router(caption_routes(desk, Limits(upload_mb=1, megapixels=2, files=3)))
    return TestClient(app)


def entry(path: Path, name: str | None = None) -> dict[str, str]:
    return {"name": name or path.name, "data": base64.b64encode(path.read_bytes()).decode()}


def test_json_and_forms_get_the_captioners_captions_in_order(client, desk, picture, tmp_path):
    paths = [picture(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    rows = desk.encode(paths)["photos"].rows
    expected = [
        {"name": path.name, "caption": caption}
        for path, caption in zip(paths, desk.main.captioner.caption_images(rows, progress=False), strict=True)
    ]
    answer = client.post("/api/captions", json={"files": [entry(path) for path in paths]})
    assert answer.status_code == 200 and answer.json() == {"method": "memory_bridge", "captions": expected}
    form = client.post("/api/captions", files=[("files", (path.name, path.read_bytes())) for path in paths])
    assert form.status_code == 200 and form.json() == answer.json()


def test_a_method_and_the_bridges_values_are_taken(client, desk, picture, tmp_path):
    path = picture(tmp_path / "a.png")
    rows = desk.encode([path])["photos"].rows
    method = desk.main.method("bridge").with_bridge(500, 3)
    expected = desk.main.captioner.with_alignment(method.chain).caption_images(rows, progress=False)[0]
    body = {"files": [entry(path)], "method": "bridge", "timestep": 500, "steps": 3}
    answer = client.post("/api/captions", json=body).json()
    assert answer == {"method": "bridge", "captions": [{"name": "a.png", "caption": expected}]}
    form = {"method": "bridge", "timestep": "500", "steps": "3"}
    assert client.post("/api/captions", data=form, files={"files": path.read_bytes()}).json()["captions"] == [
        {"name": "upload", "caption": expected}
    ]


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_captioned(client, picture, tmp_path):
    good = picture(tmp_path / "a.png")
    cut = tmp_path / "b.png"
    cut.write_bytes(good.read_bytes()[:200])
    answer = client.post("/api/captions", json={"files": [entry(cut), entry(good), entry(good, "c.mp4")]}).json()
    first, second, third = answer["captions"]
    assert first["error"].startswith("b.png cannot be read as a picture") and "caption" in second
    assert third["error"].startswith("c.mp4 is one of the videos by its name")


GOOD = {"data": base64.b64encode(b"x").decode()}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "The body is no JSON"),
        (b"[" * 100_000, 400, "The body is no JSON"),
        (b"[]", 422, "must be an object with a list of files"),
        ({"files": []}, 422, "There are no files"),
        ({"files": [GOOD] * 4}, 413, "A request may have 3 files"),
        ({"files": [GOOD], "methods": "raw"}, 422, "There is no field 'methods': files, method, timestep, steps"),
        ({"files": [GOOD], "method": "bridges"}, 422, "did you mean bridge?"),
        ({"files": [GOOD], "method": 3}, 422, "method=3 must be a text"),
        ({"files": [GOOD], "timestep": True}, 422, "timestep=True must be a whole number"),
        ({"files": [GOOD], "timestep": 9999}, 422, "image_timestep=9999 must be in 1..1000"),
        ({"files": [GOOD], "method": "raw", "steps": 2}, 422, "method=raw has no diffusion step"),
        ({"files": [{"data": "§"}]}, 422, "files[0].data is no base64"),
        ({"files": [{"name": "a"}]}, 422, 'files[0] must be an object with "data"'),
        ({"files": [{**GOOD, "url": "http://x"}]}, 422, "files[0] has 'url'"),
        ({"files": [{**GOOD, "name": 1}]}, 422, "files[0].name must be a text"),
        ({"files": [{**GOOD, "name": "a.png"}]}, 422, "None of the 1 files can be captioned; the first: a.png is no"),
        (b"x" * (2**20 + 1), 413, "The request has 1.0 MiB, and max_upload_mb=1 is the limit"),
    ],
)
def test_wrong_json_gets_a_sentence(client, body, status, words):
    content = body if isinstance(body, bytes) else json.dumps(body)
    answer = client.post("/api/captions", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, list(answer.json())) == (status, ["error"]) and words in answer.json()["error"]


def test_wrong_requests_of_other_kinds_get_a_sentence(client):
    form = {"content-type": "multipart/form-data; boundary=x"}
    cases = [
        (client.post("/api/captions", content="x", headers={"content-type": "text/plain"}), 415, "text/plain"),
        (client.post("/api/captions", content=iter([b"{}"])), 411, "Content-Length"),
        (client.post("/api/captions", content=b"--y--", headers=form), 400, "The form cannot be read"),
        (client.post("/api/captions", files={"files": (None, "text")}), 422, "files='text' is no file"),
        (client.post("/api/captions", files={"file": b"x"}), 422, "There are no files"),
        (client.post("/api/captions", files={"files": b"x"}, data={"steps": "two"}), 422, "steps='two'"),
        (client.post("/api/captions", files=[("files", b"x")] * 4), 413, "A request may have 3 files"),
        (client.post("/api/captions", files=[("files", b"x")] * 9), 413, "A request may have 3 files"),
        (client.get("/api/captions"), 405, "/api/captions takes POST, not GET"),
        (client.post("/api/caption"), 404, "There is no /api/caption"),
    ]
    for answer, status, words in cases:
        assert answer.status_code == status and words in answer.json()["error"], answer.text


def test_methods_are_listed(client):
    answer = client.get("/api/methods").json()
    assert (answer["checkpoint"], answer["reads"], answer["method"]) == ("photos", "image", "memory_bridge")
    assert [each["name"] for each in answer["methods"]][-1] == "consensus"


def test_a_full_queue_refuses_and_recovers(client, desk, picture, tmp_path):
    body = {"files": [entry(picture(tmp_path / "a.png"))]}
    places = [desk.turnstile.place() for _ in range(desk.turnstile.waiting)]
    for place in places:
        place.__enter__()
    answer = client.post("/api/captions", json=body)
    for place in places:
        place.__exit__(None, None, None)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "2"
    assert client.post("/api/captions", json=body).status_code == 200


@pytest.fixture
def serving() -> Iterator[Callable[..., int]]:
    """A starter of real servers: serving(desk, limits, **options of uvicorn) -> port."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(desk, limits: Limits, **options) -> int:
        app = FastAPI()
        app.include_router(caption_routes(desk, limits))
        listening = listen("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, **options))
        running.append((server, threading.Thread(target=server.run, kwargs={"sockets": [listening]})))
        running[-1][1].start()
        return listening.getsockname()[1]

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join()


def say(port: int, *lines: str, body: bytes = b"") -> bytes:
    """A request of such header lines, as it is; what comes back until the server closes."""
    head = [
        "POST /api/captions HTTP/1.1",
        "Host: a",
        "Connection: close",
        "Content-Type: application/json",
        *lines,
        "",
        "",
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall("\r\n".join(head).encode() + body)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    return answer


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_a_body_without_a_true_length_is_refused_by_a_real_server(serving, desk, http):
    pytest.importorskip(http)
    port = serving(desk, Limits(upload_mb=1), http=http)
    chunk = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"
    answer = say(port, "Content-Length: 5", "Transfer-Encoding: chunked", body=chunk)
    assert answer.split()[1] in (b"411", b"400")  # 400: the server itself refuses both at once
    assert say(port, "Transfer-Encoding: chunked", body=chunk).split()[1] == b"411"


def test_bytes_are_counted_whatever_the_length_says(desk):
    """Without a server that holds a body to its length."""
    sent = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"x" * 2**19, "more_body": True}

    async def send(message: dict) -> None:
        sent.append(message)

    app = FastAPI()
    app.include_router(caption_routes(desk, Limits(upload_mb=1)))
    for kind in (b"application/json", b"multipart/form-data; boundary=x"):
        headers = [(b"content-length", b"5"), (b"content-type", kind)]
        scope = {
            "type": "http", "method": "POST", "path": "/api/captions", "headers": headers, "query_string": b"",
            "http_version": "1.1", "scheme": "http", "root_path": "",
        }  # fmt: skip
        asyncio.run(app(scope, receive, send))
    statuses = [message["status"] for message in sent if message["type"] == "http.response.start"]
    assert statuses[0] == 413 and statuses[1] in (400, 413)  # such a form is damaged from its first byte


def test_slow_bodies_keep_no_place_and_are_given_up(serving, desk, picture, tmp_path, monkeypatch):
    monkeypatch.setattr(bodies, "BODY_SECONDS", 3.0)
    port = serving(desk, Limits(upload_mb=1))
    with ThreadPoolExecutor(desk.turnstile.waiting + 2) as pool:
        slow = [pool.submit(say, port, "Content-Length: 100", body=b"{") for _ in range(desk.turnstile.waiting + 2)]
        body = {"files": [entry(picture(tmp_path / "a.png"))]}
        answer = httpx.post(f"http://127.0.0.1:{port}/api/captions", json=body, timeout=60)
        assert answer.status_code == 200
        for each in slow:
            assert each.result().split()[1] == b"408"


def visitors_objects() -> list[object]:
    """What is in memory of visitors' files."""
    gc.collect()
    kinds = (Upload, Batch, EncodedImages, Image.Image)
    return [each for each in gc.get_objects() if issubclass(type(each), kinds)]  # isinstance wakes lazy modules


@pytest.mark.slow
def test_200_requests_8_at_a_time_are_all_answered_and_nothing_is_kept(serving, desk, picture, tmp_path, monkeypatch):
    paths = [picture(tmp_path / f"{seed}.jpg", seed, side=400) for seed in range(10)]
    rows = desk.encode(paths)["photos"].rows
    expected = desk.main.captioner.caption_images(rows, progress=False)
    (tmp_path / "files").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "files"))
    url, before = f"http://127.0.0.1:{serving(desk, Limits())}/api/captions", len(visitors_objects())

    def ask(number: int) -> str:
        path = paths[number % len(paths)]
        answer = httpx.post(url, json={"files": [entry(path)]}, timeout=120)
        answer.raise_for_status()
        return answer.json()["captions"][0]["caption"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(200))) == expected * 20
    kept = visitors_objects()
    assert len(kept) <= before + 8, kept  # at most the last of each worker, and not one of each request
    assert not list((tmp_path / "files").iterdir())
    assert desk.turnstile.inside == 0
