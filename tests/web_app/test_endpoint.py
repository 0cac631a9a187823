"""The endpoint: batches in, captions out, a sentence with a 4xx for wrong input, and no request lost."""

from __future__ import annotations

import base64
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from web_app.endpoint import caption_routes
from web_app.serve import listen
from web_app.uploads import Limits


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


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
def test_200_requests_8_at_a_time_are_all_answered_and_memory_stays_flat(desk, picture, tmp_path, capsys):
    app = FastAPI()
    app.include_router(caption_routes(desk, Limits()))
    paths = [picture(tmp_path / f"{seed}.jpg", seed, side=400) for seed in range(10)]
    rows = desk.encode(paths)["photos"].rows
    expected = desk.main.captioner.caption_images(rows, progress=False)
    with listen("127.0.0.1", 0) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/api/captions"

            def ask(number: int) -> str:
                path = paths[number % len(paths)]
                answer = httpx.post(url, json={"files": [entry(path)]}, timeout=120)
                answer.raise_for_status()
                return answer.json()["captions"][0]["caption"]

            with ThreadPoolExecutor(8) as pool:
                assert list(pool.map(ask, range(40))) == expected * 4  # warm
                before = resident_mb()
                assert list(pool.map(ask, range(200))) == expected * 20
                after = resident_mb()
        finally:
            server.should_exit = True
            thread.join()
    with capsys.disabled():
        print(f"\nresident memory before {before:.0f} MiB, after {after:.0f} MiB")
    assert after - before < 60
