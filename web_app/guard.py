"""What gradio is asked for: of files, those that were uploaded to this server and no others; and who went away.

Gradio reads the file that a request names by its `path`, be it a file of this machine or an address that it would
fetch. A page that is mounted into another application, as this one, has none of its checks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse

from web_app.bodies import BodyRefused, Message, Receive, counted, in_time, whole
from web_app.upload_route import UPLOAD
from web_app.uploads import is_below
from web_app.visitors import Visitors

HEARTBEAT = "/gradio_api/heartbeat/"  # a connection that each visitor's page keeps open, followed by the session
MOST_BYTES = 2**20  # of any other body: settings and names of files
SAFE = ("GET", "HEAD", "OPTIONS")
LENGTH_HEADERS = (b"content-length", b"transfer-encoding")


@dataclass(frozen=True)
class Checked:
    """A request's body, checked and written anew.

    Attributes:
        paths: of the uploads that it names.
        session: the visitor's; empty where it names none.
    """

    body: bytes
    paths: Sequence[Path] = ()
    session: str = ""


class OnlyUploads:
    """An ASGI application that refuses requests which name files outside a folder, or addresses.

    What passes is written anew, so that the application reads what was checked.

    Args:
        app: gradio's, whose bodies are JSON.
        visitors: who are there, with their uploads.
        ours: paths that begin so are not gradio's, and pass.
    """

    def __init__(self, app: Any, visitors: Visitors, ours: str = "/api/"):
        self.app, self.visitors, self.arrivals, self.ours = app, visitors, visitors.arrivals, ours

    async def __call__(self, scope: Message, receive: Receive, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith(HEARTBEAT):
            session = scope["path"].removeprefix(HEARTBEAT)
            self.visitors.came(session)
            try:
                return await self.app(scope, receive, send)
            finally:
                self.visitors.left(session)
        checked = scope["type"] == "http" and scope["method"] not in SAFE
        if not checked or scope["path"] == UPLOAD or scope["path"].startswith(self.ours):
            return await self.app(scope, receive, send)
        too_large = f"The request has more than {MOST_BYTES:,} bytes"
        try:
            read = await in_time(whole(counted(receive, MOST_BYTES, too_large)))
            asked = checked_body(read, self.arrivals.folder)
        except (BodyRefused, ValueError) as error:
            status = error.status if isinstance(error, BodyRefused) else 422
            return await JSONResponse({"detail": str(error)}, status, {"Connection": "close"})(scope, receive, send)
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in LENGTH_HEADERS]
        headers.append((b"content-length", str(len(asked.body)).encode()))
        sent = False

        async def receive_checked() -> Message:
            nonlocal sent
            if sent:
                return await receive()  # that the visitor went away
            sent = True
            return {"type": "http.request", "body": asked.body, "more_body": False}

        async def send_and_look(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                self.arrivals.delete(asked.paths)  # the request has no place in the queue: nobody will read them
            await send(message)

        self.arrivals.asked(asked.paths, asked.session)
        await self.app({**scope, "headers": headers}, receive_checked, send_and_look)


def checked_body(body: bytes, folder: Path) -> Checked:
    """A body without the addresses of its files, of which gradio needs the paths alone.

    Args:
        body: JSON, or nothing.
        folder: of the uploads.

    Raises:
        ValueError: it is no JSON, or names a file outside the folder or an address.
    """
    if not body:
        return Checked(body)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("The body is no JSON") from error
    waiting, paths = [content], []
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            paths += _checked_file(value, folder)
            waiting += value.values()
    session = content.get("session_hash") if isinstance(content, dict) else None
    return Checked(json.dumps(content).encode(), paths, session if isinstance(session, str) else "")


def _checked_file(value: dict[str, Any], folder: Path) -> list[Path]:
    """Refuse a file that is no upload; take its address away, which the page sends beside the path."""
    path, url = value.get("path"), value.pop("url", None)
    if path is None and url is None:
        return []
    if not isinstance(path, str) or not is_below(path, folder):
        raise ValueError("A file must be one that was uploaded to this page: no other file or address is read")
    return [Path(path)]
