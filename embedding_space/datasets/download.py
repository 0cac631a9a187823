"""Fetching data sets: interrupted files resume, MD5 sums are checked where they are known, archives are unpacked.

The libraries for this (pooch, torchvision's) start an interrupted file of 13 GB again. They would save only the
comparison of the MD5.
"""

from __future__ import annotations

import json
import shutil
import socket
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatch
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from common.files import file_md5, whole_file
from common.text_files import read_json
from embedding_space.datasets.records import entries_of, text_field

CHUNK = 1 << 20
ATTEMPTS = 4  # in a row without a byte gained
WAIT_SECONDS = 2  # before the second attempt, twice that before the third ...
TIMEOUT_SECONDS = 30
PHOTOS_AT_ONCE = 16
GONE_AFTER = 2 * PHOTOS_AT_ONCE  # photos that fail in a row
AGENT = {"User-Agent": "diffusion-bridge"}
SPARE_BYTES = 100_000_000  # of free space to leave
NETWORK_ERRORS = (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError)


def download(dataset: Mapping, keep_archives: bool = False) -> None:
    """Fetch what `dataset.downloads` lists into the folder `dataset.source`; existing files are kept.

    An entry is one of
        {url, md5 (null if none was published), file (its name; default: the url's)}
        {url, md5, unpack: patterns of the wanted members, rename: {folder or file in the archive: its name here}}
        {photos_of: a COCO-style JSON in source, whose `coco_url`s name the photos, into: their folder}

    Raises:
        FileNotFoundError: the network or the file cannot be reached; another run resumes.
        ValueError: there is nothing to download, too little space, a wrong checksum or a damaged archive.
    """
    entries = dataset.get("downloads") or []
    if not entries:
        by_hand = dataset.get("by_hand") or "see data/README.md"
        raise ValueError(f"dataset={dataset['name']} has no files that a command can fetch: {by_hand}")
    source = Path(dataset["source"])
    source.mkdir(parents=True, exist_ok=True)
    check_network([entry["url"] for entry in entries if _is_wanted(entry, source)])
    for entry in entries:
        if "photos_of" in entry:
            fetch_photos(source / entry["photos_of"], source / entry["into"])
            continue
        archive = source / _file_name(entry)
        if "unpack" not in entry:
            fetch(entry["url"], archive, entry["md5"])
            continue
        unpacked, wanted = _unpacked(entry, source)
        if unpacked.exists() and unpacked.read_text() == wanted:
            continue
        if not archive.is_file():
            fetch(entry["url"], archive, entry["md5"])
        elif entry["md5"] is not None and (actual := file_md5(archive)) != entry["md5"]:
            raise ValueError(f"{archive} has the MD5 {actual}, not {entry['md5']}: delete it and run the command again")
        unpack(archive, source, entry["unpack"], entry.get("rename") or {})
        unpacked.write_text(wanted)
        if not keep_archives:
            archive.unlink()
    if dataset.get("by_hand"):
        print(f"Still to be fetched by hand: {dataset['by_hand']}")


def _file_name(entry: Mapping) -> str:
    return entry.get("file") or entry["url"].rsplit("/", 1)[1]


def _unpacked(entry: Mapping, source: Path) -> tuple[Path, str]:
    """The file that says what was unpacked once the archive is removed, and its content."""
    return source / f".{_file_name(entry)}.unpacked", json.dumps([entry["url"], list(entry["unpack"])])


def _is_wanted(entry: Mapping, source: Path) -> bool:
    """Whether the entry's file must still be fetched. Of photos listed in a JSON that is known later."""
    if "photos_of" in entry or (source / _file_name(entry)).is_file():
        return False
    if "unpack" not in entry:
        return True
    unpacked, wanted = _unpacked(entry, source)
    return not (unpacked.exists() and unpacked.read_text() == wanted)


def check_network(urls: Sequence[str]) -> None:
    """Ask each server of `urls` for one of them, before anything is fetched.

    Without this check, a missing network would cost `ATTEMPTS` attempts per file.

    Raises:
        FileNotFoundError: a server is out of reach.
    """
    for url in {urlsplit(url).netloc: url for url in reversed(urls)}.values():
        request = urllib.request.Request(url, method="HEAD", headers=AGENT)
        try:
            urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS).close()
        except urllib.error.HTTPError:
            continue  # it answers; what is wrong with this file, fetching it tells
        except NETWORK_ERRORS as error:
            more = f" and {len(urls) - 1:,} more" if len(urls) > 1 else ""
            raise FileNotFoundError(
                f"{urlsplit(url).netloc} cannot be reached ({getattr(error, 'reason', error)}); still to be fetched: "
                f"{url}{more}. Run the command again where there is a network, or fetch by other means, see "
                "data/README.md"
            ) from error


def fetch(url: str, path: Path, md5: str | None = None, progress: bool = True) -> Path:
    """Fetch `url` to `path`, which exists only when it is whole. An interrupted download resumes with HTTP Range.

    Raises:
        FileNotFoundError, ValueError: as `download`.
    """
    if path.is_file():
        return path
    partial = path.with_name(f"{path.name}.partial")
    failures, have = 0, -1
    while True:
        try:
            if _go_on(url, partial, progress):
                break
            reason: object = "the connection was closed early"
        except NETWORK_ERRORS as error:
            reason = error
        before, have = have, partial.stat().st_size if partial.exists() else 0
        failures = 1 if have > before >= 0 else failures + 1  # a slow but moving download never gives up
        if failures == ATTEMPTS or _is_final(reason):
            raise _unreachable(url, reason, partial) from (reason if isinstance(reason, Exception) else None)
        time.sleep(WAIT_SECONDS * failures)
    if md5 is not None and (actual := file_md5(partial)) != md5:
        _forget(partial)
        raise ValueError(f"{url} came with the MD5 {actual}, not {md5}: it was removed, run the command again")
    partial.replace(path)
    _forget(partial)
    return path


def _go_on(url: str, partial: Path, progress: bool) -> bool:
    """Fetch the missing part of `partial`; return whether it is whole now."""
    validator = partial.with_name(f"{partial.name}.version")
    version = validator.read_text() if partial.exists() and validator.exists() else None
    have = partial.stat().st_size if version is not None else 0
    # If-Range: a file that has changed on the server since is sent from its start.
    headers = {"Range": f"bytes={have}-", "If-Range": version} if have and version else {}
    if not headers:
        have = 0
    request = urllib.request.Request(url, headers={**AGENT, **headers})
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range", "").endswith(f"/{have}"):
            return True  # all of it was there
        if error.code == 416:
            _forget(partial)
            return False
        raise
    with response:
        if response.status != 206:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        _check_space(partial.parent, (total or 0) - have, url)
        validator.write_text(response.headers.get("ETag") or response.headers.get("Last-Modified") or "")
        with (
            partial.open("ab" if have else "wb") as file,
            tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=partial.stem, disable=not progress) as bar,
        ):
            while chunk := _read(response):
                file.write(chunk)
                bar.update(len(chunk))
    return total is None or partial.stat().st_size == total


def _read(response: HTTPResponse) -> bytes:
    """The next part. urllib names only the errors of opening: those of TLS and sockets in between become one kind."""
    try:
        return response.read(CHUNK)
    except OSError as error:
        raise ConnectionError(str(error)) from error


def _is_final(reason: object) -> bool:
    """Whether another attempt is pointless: the server is unknown, or refuses the file."""
    if isinstance(reason, urllib.error.HTTPError):
        return reason.code in (400, 401, 403, 404, 410)
    cause = getattr(reason, "reason", None)
    return isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME


def _unreachable(url: str, reason: object, partial: Path) -> FileNotFoundError:
    kept = f"; {partial.stat().st_size:,} bytes of it are kept" if partial.exists() else ""
    return FileNotFoundError(
        f"{url} cannot be fetched ({getattr(reason, 'reason', reason)}){kept}: run the command again where there is a "
        "network, or fetch it by other means, see data/README.md"
    )


def _check_space(folder: Path, needed: int, what: object) -> None:
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise ValueError(
            f"{what} needs {needed / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB free: make room, or name "
            "another folder with dataset.source=..."
        )


def _forget(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    partial.with_name(f"{partial.name}.version").unlink(missing_ok=True)


def unpack(archive: Path, folder: Path, patterns: Sequence[str], rename: Mapping[str, str]) -> None:
    """Unpack the members of a zip that match one of `patterns`; existing files of the right size are kept.

    Args:
        rename: {first folder or file name in the archive: what it is called here}; null for a folder that is dropped.
    """
    with _zip(archive) as opened:
        members = []
        for pattern in patterns:
            if not any(fnmatch(name, pattern) for name in opened.namelist()):
                raise ValueError(f"{archive} holds nothing called {pattern} (dataset.downloads, unpack)")
        for info in opened.infolist():
            if info.is_dir() or not any(fnmatch(info.filename, pattern) for pattern in patterns):
                continue
            first, *rest = Path(info.filename).parts
            target = folder.joinpath(rename.get(first, first) or "", *rest)
            if not target.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{archive} holds {info.filename!r}, which would land outside of {folder}")
            if not (target.is_file() and target.stat().st_size == info.file_size):
                members.append((info, target))
        _check_space(folder, sum(info.file_size for info, _ in members), f"Unpacking {archive}")
        for info, target in tqdm(members, desc=f"unpack {archive.name}", unit=" files", dynamic_ncols=True):
            # A damaged file of the right size would be kept.
            with whole_file(target) as partial, opened.open(info) as source, partial.open("wb") as file:
                shutil.copyfileobj(source, file, CHUNK)


@contextmanager
def _zip(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{archive} is damaged ({error}): delete it and run the command again") from error


def fetch_photos(annotations: Path, folder: Path) -> None:
    """Fetch the photos that a COCO-style JSON lists by `coco_url` into `folder`; existing ones are kept.

    Raises:
        FileNotFoundError: some photos cannot be fetched. It is raised after the others, or at once without a network.
    """
    wanted = []
    for number, entry in enumerate(entries_of(annotations, read_json(annotations), "images")):
        where = f"images[{number}]"
        url, name = (text_field(annotations, where, entry, key) for key in ("coco_url", "file_name"))
        wanted.append((url, folder / Path(name).name))
    folder.mkdir(parents=True, exist_ok=True)
    check_network([url for url, path in wanted if not path.is_file()])

    def one(job: tuple[str, Path]) -> FileNotFoundError | None:
        try:
            fetch(*job, progress=False)
        except FileNotFoundError as error:
            return error

    pool = ThreadPoolExecutor(PHOTOS_AT_ONCE)
    try:
        results = tqdm(pool.map(one, wanted), total=len(wanted), desc=f"photos of {annotations.name}", unit=" photos")
        failed, in_a_row = list[FileNotFoundError](), 0
        for error in results:
            if error is None:
                in_a_row = 0
                continue
            failed.append(error)
            in_a_row += 1
            if in_a_row == GONE_AFTER and not isinstance(error.__cause__, urllib.error.HTTPError):
                raise FileNotFoundError(f"{in_a_row} photos in a row could not be fetched; the last: {error}")
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt does not wait for the photos still to come
    if failed:
        raise FileNotFoundError(f"{len(failed):,} of {len(wanted):,} photos are missing; the first: {failed[0]}")
