"""What gradio is asked for: of files, those that were uploaded to this server and no others.

Gradio reads the file that a request names by its `path`, be it a file of this machine or an address that it would
fetch. A page that is mounted into another application, as this one, has none of its checks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse

from web_app.bodies import BodyRefused, Message, Receive, counted, in_time, whole
from web_app.uploads import is_below

UPLOAD = "/gradio_api/upload"  # the one path whose body is a file, of which gradio checks the size
MOST_BYTES = 2**20  # of any other body: settings and names of files
SAFE = ("GET", "HEAD", "OPTIONS")
LENGTH_HEADERS = (b"content-length", b"transfer-encoding")


class OnlyUploads:
    """An ASGI application that refuses requests which name files outside a folder, or addresses.

    What passes is written anew, so that the application reads what was checked.

    Args:
        app: gradio's, whose bodies are JSON.
        folder: of the uploads.
        ours: paths that begin so are not gradio's, and pass.
    """

    def __init__(self, app: Any, folder: Path, ours: str = "/api/"):
        self.app, self.folder, self.ours = app, folder, ours

    async def __call__(self, scope: Message, receive: Receive, send: Any) -> None:
        checked = scope["type"] == "http" and scope["method"] not in SAFE
        if not checked or scope["path"] == UPLOAD or scope["path"].startswith(self.ours):
            return await self.app(scope, receive, send)
        too_large = f"The request has more than {MOST_BYTES:,} bytes"
        try:
            body = checked_body(await in_time(whole(counted(receive, MOST_BYTES, too_large))), self.folder)
        except (BodyRefused, ValueError) as error:
            status = error.status if isinstance(error, BodyRefused) else 422
            return await JSONResponse({"detail": str(error)}, status, {"Connection": "close"})(scope, receive, send)
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in LENGTH_HEADERS]
        headers.append((b"content-length", str(len(body)).encode()))
        sent = False

        async def receive_checked() -> Message:
            nonlocal sent
            if sent:
                return await receive()  # that the visitor went away
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app({**scope, "headers": headers}, receive_checked, send)


def checked_body(body: bytes, folder: Path) -> bytes:
    """A body without the addresses of its files, of which gradio needs the paths alone.

    Args:
        body: JSON, or nothing.
        folder: of the uploads.

    Raises:
        ValueError: it is no JSON, or names a file outside the folder or an address.
    """
    if not body:
        return body
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("The body is no JSON") from error
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            _check_file(value, folder)
            waiting += value.values()
    return json.dumps(content).encode()


def _check_file(value: dict[str, Any], folder: Path) -> None:
    """Refuse a file that is no upload; take its address away, which the page sends beside the path."""
    path, url = value.get("path"), value.pop("url", None)
    if path is None and url is None:
        return
    if not isinstance(path, str) or not is_below(path, folder):
        raise ValueError("A file must be one that was uploaded to this page: no other file or address is read")
