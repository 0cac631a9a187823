"""Bodies of requests, read up to a size and within a time, whatever their headers promise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
BODY_SECONDS = 60.0  # in which a request must have sent its body


class BodyRefused(ValueError):
    """A body that is too large (status 413), too slow (408), or of no stated length (411)."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status


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
