"""Bodies of requests, read up to a size and within a time, whatever their headers promise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
BODY_SECONDS = 60.0  # in which a request must have sent its body


class BodyRefused(ValueError):
    """A body that is too large (status 413), too slow (408), or of no stated length (411)."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status


def limited(request: Request, most_bytes: int, limit: str, around: int = 0) -> Request:
    """The same request, whose body is read up to a size, whatever its header says.

    Args:
        most_bytes: of the body.
        limit: what the limit is called, and what to do: the end of a refusal.
        around: bytes that the body may have beside those that are limited, such as a form's own.

    Raises:
        BodyRefused: its size is not stated (status 411), or too large (413, which reading the body may raise, too).
    """
    length = request.headers.get("content-length", "")
    if "transfer-encoding" in request.headers or not (length.isascii() and length.isdigit()):
        raise BodyRefused(411, "The request must say its length (Content-Length), which it does not when it is chunked")
    if int(length[:15]) > most_bytes + around:
        raise BodyRefused(413, f"The request has {int(length[:15]) / 2**20:.1f} MiB, and {limit}")
    more = f"The request has more than it says, and {limit}"
    return Request(request.scope, counted(request.receive, most_bytes + around, more))


def counted(receive: Receive, most_bytes: int, refusal: str) -> Receive:
    """As `receive`, an ASGI application's, which raises BodyRefused(413, refusal) once more bytes came."""
    count = 0

    async def receive_counted() -> Message:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        if count > most_bytes:
            raise BodyRefused(413, refusal)
        return message

    return receive_counted


async def in_time(reading: Awaitable[Any]) -> Any:
    """What reads a body, within `BODY_SECONDS`. Raises BodyRefused(408, ...) after that."""
    try:
        return await asyncio.wait_for(reading, BODY_SECONDS)
    except (asyncio.TimeoutError, TimeoutError) as error:
        raise BodyRefused(
            408, f"The request did not arrive within {BODY_SECONDS:.0f} seconds: send it again, or less at once"
        ) from error


async def whole(receive: Receive) -> bytes:
    """All of a body; what came of it where the sender went away."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return b"".join(parts)
