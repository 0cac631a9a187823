"""The HTTP endpoint: JSON or files in, captions out. See docs/web.md."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from common.characters import one_line
from web_app.bodies import BodyRefused, in_time, limited
from web_app.desk import Busy, Desk
from web_app.look import Bridge
from web_app.uploads import Limits, Upload, check_upload, in_its_name, temporary_files

FIELDS = ("files", "method", "timestep", "steps")
EXAMPLE = '{"files": [{"name": "photo.jpg", "data": "<base64>"}]}'


@dataclass(frozen=True)
class Batch:
    """What a request asks for; None: the checkpoint's own method, timestep and steps."""

    uploads: Sequence[Upload]
    method: str | None = None
    bridge: Bridge = field(default_factory=Bridge)


class Refused(ValueError):
    """A request that is answered with this status and sentence."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status


def caption_batch(desk: Desk, batch: Batch, limits: Limits) -> dict[str, Any]:
    """Caption a batch: {"method", "captions": [{"name", "caption"} or {"name", "error"}]}, in the files' order.

    Raises:
        Refused: a method or value that there is not, or no file that can be read.
    """
    try:
        name = batch.method or desk.main.whole.name
        method = desk.main.method(name).with_bridge(batch.bridge.timestep, batch.bridge.steps)
    except ValueError as error:
        raise Refused(422, str(error)) from error
    entries: list[dict[str, str]] = [{"name": upload.label} for upload in batch.uploads]
    with temporary_files(batch.uploads, desk.medium) as paths:
        readable = []
        for number, (path, upload) in enumerate(zip(paths, batch.uploads, strict=True)):
            try:
                check_upload(path, upload.name, desk.medium, limits)
                readable.append(number)
            except ValueError as error:
                entries[number]["error"] = str(error)
        files = [paths[number] for number in readable]
        encoded = desk.encode(files, only_main=True)[desk.main.name] if files else None
        if encoded is not None:
            unread = [number for place, number in enumerate(readable) if place not in set(encoded.kept)]
            for number, reason in zip(unread, encoded.reasons, strict=True):
                entries[number]["error"] = in_its_name(reason, paths[number], batch.uploads[number].label)
            if encoded.kept:
                captions = desk.main.captions(encoded, method)
                for place, caption in zip(encoded.kept, captions, strict=True):
                    entries[readable[place]]["caption"] = caption
    if not any("caption" in entry for entry in entries):
        raise Refused(422, f"None of the {len(entries)} files can be captioned; the first: {entries[0]['error']}")
    return {"method": method.name, "captions": entries}


def batch_of_json(content: bytes, limits: Limits) -> Batch:
    """The batch of a JSON body. Raises Refused with what is wrong in it."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is no JSON ({one_line(error, 120)}): send something like {EXAMPLE}") from error
    if not isinstance(body, dict) or not isinstance(body.get("files"), list):
        raise Refused(422, f"The body must be an object with a list of files, such as {EXAMPLE}")
    _check_count(len(body["files"]), limits)
    uploads = [_upload(entry, number) for number, entry in enumerate(body["files"])]
    return _batch(uploads, body)


def _upload(entry: object, number: int) -> Upload:
    where = f"files[{number}]"
    if not isinstance(entry, dict) or not isinstance(entry.get("data"), str):
        raise Refused(422, f'{where} must be an object with "data", a text in base64, and perhaps "name"')
    if unknown := set(entry) - {"name", "data"}:
        raise Refused(422, f'{where} has {min(map(str, unknown))!r}: only "name" and "data" are known')
    name = entry.get("name", f"file {number + 1}")
    if not isinstance(name, str):
        raise Refused(422, f"{where}.name must be a text")
    try:
        return Upload(name, base64.b64decode(entry["data"], validate=True))
    except (binascii.Error, ValueError) as error:
        raise Refused(422, f"{where}.data is no base64: {error}") from error


async def batch_of_form(request: Request, limits: Limits) -> Batch:
    """The batch of a form with files, as `curl -F files=@photo.jpg` sends it. Raises Refused."""
    try:
        # The limit of a file's size is that of the whole request, which is checked before.
        async with request.form(max_files=limits.files + 1, max_fields=len(FIELDS) + 1) as form:
            if wrong := [each for each in form.getlist("files") if not isinstance(each, UploadFile)]:
                raise Refused(422, f"files={str(wrong[0])[:40]!r} is no file: send it as curl -F files=@photo.jpg does")
            files = [each for each in form.getlist("files") if isinstance(each, UploadFile)]
            _check_count(len(files), limits)
            uploads = [Upload(each.filename or "the file", await each.read()) for each in files]
            if twice := [name for name in FIELDS[1:] if len(form.getlist(name)) > 1]:
                raise Refused(422, f"{twice[0]} is there twice")
            return _batch(uploads, {name: _number(name, value) for name, value in form.items()})
    except HTTPException as error:  # starlette's, for a damaged form, and for one of more files than are counted above
        if error.detail.startswith("Too many files"):
            _check_count(limits.files + 1, limits)
        raise Refused(400, f"The form cannot be read: {one_line(error.detail)}") from error


def _number(name: str, value: object) -> object:
    """A form's text as the number that it is, where one is wanted."""
    if name in ("timestep", "steps") and isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:12])
    return value


def _check_count(count: int, limits: Limits) -> None:
    if count < 1:
        raise Refused(422, f"There are no files: send at least one, such as {EXAMPLE}")
    if count > limits.files:
        raise Refused(413, f"A request may have {limits.files} files (max_files), and this one has more: send less")


def _batch(uploads: Sequence[Upload], body: dict[str, Any]) -> Batch:
    if unknown := set(body) - set(FIELDS):
        raise Refused(422, f"There is no field {min(unknown)!r}: {', '.join(FIELDS)} are known")
    method, timestep, steps = (body.get(name) for name in FIELDS[1:])
    if method is not None and not isinstance(method, str):
        raise Refused(422, f"method={method!r} must be a text")
    for name, value in (("timestep", timestep), ("steps", steps)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise Refused(422, f"{name}={value!r} must be a whole number")
    return Batch(uploads, method, Bridge(timestep, steps))


def caption_routes(desk: Desk, limits: Limits) -> APIRouter:
    """The routes `POST /api/captions` and `GET /api/methods`."""
    router = APIRouter(prefix="/api")

    @router.post("/captions")
    async def captions(request: Request) -> JSONResponse:
        try:
            with desk.turnstile.place():  # where there is none, the body is not read
                pass
            batch = await in_time(_read(request, limits))  # without a place, which a slow visitor would keep
            with desk.turnstile.place():
                return JSONResponse(await run_in_threadpool(_locked, desk, batch, limits))
        except Busy as error:
            return JSONResponse({"error": str(error)}, 503, {"Retry-After": "2"})
        except BodyRefused as error:  # the rest of the body is not read
            return JSONResponse({"error": str(error)}, error.status, {"Connection": "close"})
        except Refused as error:
            return JSONResponse({"error": str(error)}, error.status)

    @router.get("/methods")
    async def methods() -> JSONResponse:
        main = desk.main
        listed = [{"name": each.name, "does": each.does} for each in main.methods.values()]
        return JSONResponse(
            {"checkpoint": main.name, "reads": desk.medium, "method": main.whole.name, "methods": listed}
        )

    @router.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    async def unknown(path: str, request: Request) -> JSONResponse:
        allowed = {"captions": "POST", "methods": "GET"}.get(path)
        if allowed is not None:
            sentence = f"/api/{path} takes {allowed}, not {request.method}"
            return JSONResponse({"error": sentence}, 405, {"Allow": allowed})
        return JSONResponse({"error": f"There is no /api/{path[:80]}: see POST /api/captions, GET /api/methods"}, 404)

    return router


def _locked(desk: Desk, batch: Batch, limits: Limits) -> dict[str, Any]:
    with desk.turnstile.models():
        return caption_batch(desk, batch, limits)


async def _read(request: Request, limits: Limits) -> Batch:
    """The request's batch.

    Raises:
        BodyRefused: its size is not stated, or too large.
        Refused: its kind is unknown, or what it holds is wrong.
    """
    request = limited(request, limits.upload_bytes, f"max_upload_mb={limits.upload_mb} is the limit: split it")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return batch_of_json(await request.body(), limits)
    if kind == "multipart/form-data":
        return await batch_of_form(request, limits)
    raise Refused(415, f"The content type {kind[:60]!r} is none of application/json, multipart/form-data")
