"""Downloads from a local server: resuming, checksums, unpacking, and what is said when something is wrong."""

from __future__ import annotations

import hashlib
import io
import json
import ssl
import threading
import zipfile
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from embedding_space.datasets import download as downloads
from embedding_space.datasets.download import download, fetch

BODY = bytes(range(256)) * 40


class Server(ThreadingHTTPServer):
    """Serves `files`; closes a connection after `cut` bytes as often as `cuts` says; `seen` lists what was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.version, self.cut, self.cuts, self.seen, self.ranges = {}, '"1"', 0, 0, [], True

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server: Server = self.server
        wanted = self.headers.get("Range")
        server.seen.append((self.path, wanted))
        body = server.files.get(self.path[1:])
        if body is None:
            return self.send_error(404)
        start = 0
        if wanted and server.ranges and self.headers.get("If-Range") == server.version:
            start = int(wanted[6:-1])
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
        self.send_response(206 if start else 200)
        self.send_header("ETag", server.version)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if server.cuts:
            server.cuts -= 1
            body = body[: start + server.cut]
        self.wfile.write(body[start:])

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(downloads, "WAIT_SECONDS", 0)


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def test_a_broken_connection_goes_on_where_it_stopped(server, tmp_path, monkeypatch):
    server.files["a.bin"], server.cut, server.cuts = BODY, 3000, 2
    monkeypatch.setattr(downloads, "ATTEMPTS", 2)
    path = fetch(server.url("a.bin"), tmp_path / "a.bin", md5(BODY), progress=False)
    assert path.read_bytes() == BODY
    assert [wanted for _, wanted in server.seen] == [None, "bytes=3000-", "bytes=6000-"]
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]
    fetch(server.url("a.bin"), path)
    assert len(server.seen) == 3  # what is whole is not asked for again


def test_an_interrupted_command_goes_on_in_the_next(server, tmp_path, monkeypatch):
    server.files["a.bin"], server.cut, server.cuts = BODY, 3000, 1
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    with pytest.raises(FileNotFoundError, match=r"closed early\); 3,000 bytes of it are kept: run the command again"):
        fetch(server.url("a.bin"), tmp_path / "a.bin", progress=False)
    assert not (tmp_path / "a.bin").exists()
    assert fetch(server.url("a.bin"), tmp_path / "a.bin", progress=False).read_bytes() == BODY
    assert server.seen[-1][1] == "bytes=3000-"


def test_an_error_of_the_connection_in_the_midst_of_a_file_is_tried_again(server, tmp_path, monkeypatch):
    server.files["a.bin"] = BODY
    monkeypatch.setattr(downloads, "WAIT_SECONDS", 0)
    monkeypatch.setattr(downloads, "CHUNK", 1000)
    read, broken = HTTPResponse.read, [ssl.SSLEOFError(8, "EOF occurred"), OSError(113, "No route to host")]

    def breaking(response, amount=None):
        content = read(response, amount)
        if broken and len(content) == 1000:
            raise broken.pop()
        return content

    monkeypatch.setattr(HTTPResponse, "read", breaking)
    assert fetch(server.url("a.bin"), tmp_path / "a.bin", md5(BODY), progress=False).read_bytes() == BODY
    assert not broken


@pytest.mark.parametrize("change", ["file", "no ranges"])
def test_a_file_that_changed_or_cannot_be_resumed_is_fetched_from_its_start(server, tmp_path, monkeypatch, change):
    server.files["a.bin"], server.cut, server.cuts = BODY, 3000, 1
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    with pytest.raises(FileNotFoundError):
        fetch(server.url("a.bin"), tmp_path / "a.bin", progress=False)
    if change == "file":
        server.files["a.bin"], server.version = BODY[::-1], '"2"'
    server.ranges = change != "no ranges"
    assert fetch(server.url("a.bin"), tmp_path / "a.bin", progress=False).read_bytes() == server.files["a.bin"]


def test_a_partial_file_that_is_already_whole_is_taken(server, tmp_path):
    server.files["a.bin"] = BODY
    (tmp_path / "a.bin.partial").write_bytes(BODY)
    (tmp_path / "a.bin.partial.version").write_text(server.version)
    assert fetch(server.url("a.bin"), tmp_path / "a.bin", md5(BODY), progress=False).read_bytes() == BODY


def test_a_wrong_checksum_removes_the_file(server, tmp_path):
    server.files["a.bin"] = BODY
    with pytest.raises(ValueError, match=rf"came with the MD5 {md5(BODY)}, not {'0' * 32}"):
        fetch(server.url("a.bin"), tmp_path / "a.bin", "0" * 32, progress=False)
    assert not list(tmp_path.iterdir())


def test_no_network_no_file_and_no_space_are_said_in_a_sentence(server, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"nothing\.zip cannot be fetched \(Not Found\): run the command again"):
        fetch(server.url("nothing.zip"), tmp_path / "nothing.zip", progress=False)
    assert len(server.seen) == 1  # not asked for again
    with pytest.raises(FileNotFoundError, match=r"cannot be fetched .*where there is a network"):
        fetch("http://127.0.0.1:1/a.bin", tmp_path / "a.bin", progress=False)
    server.files["a.bin"] = BODY
    monkeypatch.setattr(downloads, "SPARE_BYTES", 10**18)
    with pytest.raises(ValueError, match=r"GB free: make room, or name another folder with dataset\.source="):
        fetch(server.url("a.bin"), tmp_path / "a.bin", progress=False)


def entry(server: Server, name: str, body: bytes, **more) -> dict:
    server.files[name] = body
    return {"url": server.url(name), "md5": md5(body), **more}


def test_archives_are_unpacked_once_and_removed(server, tmp_path):
    body = zipped({"Old/1": "one", "Old/2": "two!", "__MACOSX/1": "x", "notes": "no"})
    dataset = {
        "name": "mine",
        "source": tmp_path / "mine",
        "downloads": [entry(server, "photos.zip", body, unpack=["Old/*"], rename={"Old": "images"})],
    }
    download(dataset)
    files = {p.relative_to(tmp_path / "mine").as_posix() for p in (tmp_path / "mine").rglob("*") if p.is_file()}
    assert files == {"images/1", "images/2", ".photos.zip.unpacked"}
    assert (tmp_path / "mine/images/2").read_text() == "two!"
    download(dataset)
    assert len(server.seen) == 1
    dataset["downloads"][0]["unpack"] = ["*"]
    download(dataset, keep_archives=True)
    assert (tmp_path / "mine/photos.zip").exists() and (tmp_path / "mine/notes").exists()


def test_an_archive_without_what_is_wanted_is_refused(server, tmp_path):
    body = zipped({"a": "x"})
    dataset = {"name": "x", "source": tmp_path, "downloads": [entry(server, "a.zip", body, unpack=["a", "b*"])]}
    with pytest.raises(ValueError, match=r"a\.zip holds nothing called b\*"):
        download(dataset)


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"no zip", "is damaged"), (zipped({"../evil": "x"}), "would land outside")],
    ids=["no zip", "outside"],
)
def test_bad_archives_are_refused(server, tmp_path, body, message):
    dataset = {"name": "x", "source": tmp_path / "x", "downloads": [entry(server, "a.zip", body, unpack=["*"])]}
    with pytest.raises(ValueError, match=message):
        download(dataset)
    assert not (tmp_path / "evil").exists()


def test_an_archive_that_is_there_already_is_checked_before_unpacking(server, tmp_path):
    body = zipped({"a": "x"})
    dataset = {"name": "x", "source": tmp_path, "downloads": [entry(server, "a.zip", body, unpack=["a"])]}
    (tmp_path / "a.zip").write_bytes(zipped({"a": "y"}))
    with pytest.raises(ValueError, match=rf"a\.zip has the MD5 .*, not {md5(body)}: delete it"):
        download(dataset)
    assert not (tmp_path / "a").exists()
    (tmp_path / "a.zip").write_bytes(body)
    download(dataset)
    assert (tmp_path / "a").read_text() == "x" and not server.seen


@pytest.mark.parametrize("damage", ["a wrong byte", "no deflate stream", "cut short"])
def test_damage_inside_an_archive_is_told_and_leaves_no_file(server, tmp_path, damage):
    packing = zipfile.ZIP_DEFLATED if damage == "no deflate stream" else zipfile.ZIP_STORED
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        archive.writestr("a", bytes(range(256)) * 9)
    body = bytearray(buffer.getvalue())
    if damage == "cut short":  # the directory tells of more bytes than there are
        directory = body.index(b"PK\x01\x02")
        body[directory + 20 : directory + 28] = 2 * (10**6).to_bytes(4, "little")
    else:
        body[31] = 0xFF
    dataset = {"name": "x", "source": tmp_path, "downloads": [entry(server, "a.zip", bytes(body), unpack=["a"])]}
    with pytest.raises(ValueError, match=r"a\.zip is damaged"):
        download(dataset)
    assert not (tmp_path / "a").exists()


def test_photos_that_a_json_names_are_fetched_and_missing_ones_told(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    server.files |= {"1.jpg": b"one", "2.jpg": b"two"}
    images = [{"id": n, "file_name": f"{n}.jpg", "coco_url": server.url(f"{n}.jpg")} for n in (1, 2, 3)]
    body = json.dumps({"images": images}).encode()
    dataset = {
        "name": "nocaps",
        "source": tmp_path,
        "downloads": [entry(server, "val.json", body), {"photos_of": "val.json", "into": "images"}],
    }
    with pytest.raises(FileNotFoundError, match=r"1 of 3 photos are missing; the first: .*3\.jpg"):
        download(dataset)
    server.files["3.jpg"] = b"three"
    download(dataset)
    assert (tmp_path / "images/3.jpg").read_bytes() == b"three"
    assert sum(path == "/1.jpg" for path, _ in server.seen) == 1


def test_without_a_network_a_command_stops_before_it_tries_anything(server, tmp_path, monkeypatch):
    """One server answers, the other does not: nothing is fetched from either, and nothing is tried twice."""
    monkeypatch.setattr(downloads, "fetch", lambda *_, **__: pytest.fail("fetched"))
    there, gone = entry(server, "a.bin", BODY), {"url": "http://127.0.0.1:1/b.zip", "md5": None, "unpack": ["*"]}
    dataset = {"name": "x", "source": tmp_path, "downloads": [there, gone]}
    with pytest.raises(
        FileNotFoundError,
        match=r"^127\.0\.0\.1:1 cannot be reached \(.*refused\); still to be fetched: http://127\.0\.0\.1:1/b\.zip "
        r"and 1 more\. Run the command again where there is a network",
    ):
        download(dataset)
    (tmp_path / "a.bin").write_bytes(BODY)
    monkeypatch.undo()
    download({**dataset, "downloads": [there]})  # what is there needs no network
    (tmp_path / "val.json").write_text(json.dumps({"images": [{"file_name": "1.jpg", "coco_url": gone["url"]}]}))
    with pytest.raises(
        FileNotFoundError, match=r"cannot be reached .*: http://127\.0\.0\.1:1/b\.zip\. Run the command"
    ):
        downloads.fetch_photos(tmp_path / "val.json", tmp_path / "images")


def test_a_network_that_goes_in_the_midst_of_photos_stops_the_command(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    monkeypatch.setattr(downloads, "GONE_AFTER", 3)
    monkeypatch.setattr(downloads, "check_network", lambda urls: None)
    server.files["0.jpg"] = b"zero"
    urls = [server.url("0.jpg"), *(f"http://127.0.0.1:1/{n}.jpg" for n in range(1, 60))]
    images = [{"file_name": f"{n}.jpg", "coco_url": url} for n, url in enumerate(urls)]
    (tmp_path / "val.json").write_text(json.dumps({"images": images}))
    with pytest.raises(FileNotFoundError, match=r"^3 photos in a row .*the last: http://127\.0\.0\.1:1/3\.jpg cannot"):
        downloads.fetch_photos(tmp_path / "val.json", tmp_path / "images")
    assert (tmp_path / "images/0.jpg").read_bytes() == b"zero"


def test_a_data_set_without_downloads_says_what_to_do():
    with pytest.raises(ValueError, match="dataset=mine has no files that a command can fetch: ask them"):
        download({"name": "mine", "source": "x", "downloads": [], "by_hand": "ask them"})


def test_the_published_data_sets_configs_are_complete(compose):
    for name in ("coco", "coco_official", "flickr30k", "flickr8k", "flickr8k_karpathy", "flickr8k_photos", "nocaps"):
        for item in compose("prepare_data", f"dataset={name}").dataset.downloads:
            assert "photos_of" in item or item.url.startswith("http")
            assert "photos_of" in item or item.md5 is None or len(item.md5) == 32
