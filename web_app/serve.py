"""The server: loads the models, warms them up, and answers the page and the endpoint until it is stopped.

The work behind `scripts/web.py`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import time
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from common.config import compose_config, drop_nulls
from common.extras import require
from common.files import write_whole
from common.plain import plain
from embedding_space.media import Medium
from image_captioning.generation import Decoding
from pcm_net.load import load_captioner
from web_app.arrivals import SWEEP_SECONDS, Arrivals
from web_app.captioners import Loader, load_all
from web_app.desk import Desk
from web_app.handlers import Handlers
from web_app.painting import Painter
from web_app.uploads import Limits
from web_app.visitors import Visitors

FILES_PER_PLACE = 4  # of the page's queue: files on their way to it
CLOSING_SECONDS = 3  # that open pages are given when the server stops
# The page fetches nothing from elsewhere, whatever a library's template asks for. Its charts and scripts are inline.
POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "worker-src": "'self' blob:",
    "connect-src": "'self' data: blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}
HEADERS = {
    b"content-security-policy": "; ".join(f"{name} {sources}" for name, sources in POLICY.items()).encode(),
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


def serve(config: DictConfig) -> None:
    """Serve `configs/web.yaml` until Ctrl-C.

    Raises:
        FileNotFoundError: a checkpoint is missing.
        ValueError: a checkpoint does not fit, or the address cannot be had.
        ImportError: gradio, or what a checkpoint needs, is not installed.
    """
    require("gradio")
    listening = listen(config.host, config.port)
    with listening, tempfile.TemporaryDirectory(prefix="web_") as folder:
        prepare_gradio(Path(folder))
        import uvicorn  # imported here, like the page: gradio reads its settings when it is imported

        handlers = make_handlers(config)
        warm_up(handlers, Path(folder))
        write_whole(Path(config.output_dir) / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
        app = make_app(handlers, config.queue_size)
        host, port = listening.getsockname()[:2]
        if config.host not in ("127.0.0.1", "localhost", "::1"):
            print(f"host={config.host}: everyone who can reach this machine can use it", file=sys.stderr)
        print(f"Open http://{f'[{host}]' if ':' in host else host}:{port}/ in a browser; Ctrl-C ends it", flush=True)
        options = {"log_level": "warning", "access_log": False, "timeout_graceful_shutdown": CLOSING_SECONDS}
        uvicorn.Server(uvicorn.Config(app, **options)).run(sockets=[listening])  # pyright: ignore[reportArgumentType]


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there, before minutes go into loading models; port 0 is any that is free.

    Raises:
        ValueError: it cannot be had.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"host={host} port={port}: {reason}: give another port=, or 0 for any that is free") from error


def prepare_gradio(folder: Path) -> None:
    """Settings that gradio reads when it is imported: no telemetry, and visitors' files in a folder of ours alone."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    os.environ["GRADIO_RUN_HISTORY"] = "False"


def make_handlers(config: DictConfig) -> Handlers:
    """Load all models of `configs/web.yaml`. Raises as `serve`."""
    consensus = Decoding(**plain(compose_config("caption", "decoding=consensus").decoding))
    loader = Loader(
        partial(load_captioner, concepts=None), consensus, config.precision, drop_nulls(plain(config.encoder))
    )
    desk = Desk(load_all(loader, config.checkpoint, list(config.checkpoints)), config.queue_size)
    painter = None if config.draw_with is None else Painter.load(config.draw_with, config.precision)
    return Handlers(desk, Limits(config.max_upload_mb, config.max_megapixels, config.max_files), painter)


def warm_up(handlers: Handlers, folder: Path) -> float:
    """Answer a made-up file twice and draw once, so that the first visitor does not wait for what is made once.

    Returns the seconds that the second answer took.
    """
    took = 0.0
    for _ in range(2):
        path = sample_file(folder, handlers.desk.medium)  # which the upload deletes
        begin = time.perf_counter()
        handlers.upload(path, path.name, handlers.usual)
        took = time.perf_counter() - begin
    handlers.draw("a boat", 0)
    return took


def sample_file(folder: Path, medium: Medium) -> Path:
    """A made-up file of the medium: noise."""
    random = np.random.default_rng(0)
    if medium == "sound":
        path = folder / "noise.wav"
        with wave.open(str(path), "wb") as writer:
            writer.setparams((1, 2, 16_000, 0, "NONE", ""))
            writer.writeframes(random.integers(-9_000, 9_000, 32_000).astype("<i2").tobytes())
        return path
    frames = [Image.fromarray(random.integers(0, 255, (96, 96, 3), np.uint8)) for _ in range(4)]
    path = folder / ("noise.gif" if medium == "video" else "noise.png")
    options = {"save_all": True, "append_images": frames[1:], "duration": 200} if medium == "video" else {}
    frames[0].save(path, **options)
    return path


def make_app(handlers: Handlers, queue_size: int) -> Any:
    """The ASGI application: the endpoint under /api, and the page under /."""
    import gradio as gr
    from fastapi import FastAPI
    from gradio.utils import get_upload_folder

    from web_app.endpoint import caption_routes
    from web_app.guard import OnlyUploads
    from web_app.page import make_page, style, theme
    from web_app.upload_route import upload_routes

    arrivals = Arrivals(Path(get_upload_folder()) / "waiting", handlers.desk.medium, FILES_PER_PLACE * queue_size)
    visitors = Visitors(arrivals, {})
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lambda _: sweeping(visitors))
    app.include_router(caption_routes(handlers.desk, handlers.limits))
    app.include_router(upload_routes(arrivals, handlers.limits))  # before gradio's, whose places they take
    page = make_page(handlers, arrivals, queue_size)
    gr.mount_gradio_app(
        app, page, "/", footer_links=[], run_history=False, max_file_size=handlers.limits.upload_bytes, ssr_mode=False,
        show_error=False, enable_monitoring=False, pwa=False, mcp_server=False, theme=theme(), head=style(),
    )  # fmt: skip
    page.has_launched = True  # which gradio asks before it checks the paths of files

    visitors.states = page.state_holder.session_data
    return WithHeaders(OnlyUploads(app, visitors))


@asynccontextmanager
async def sweeping(visitors: Visitors) -> AsyncIterator[None]:
    """Looks for what is late while the server runs; at its end, everything is forgotten."""

    async def sweep() -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            visitors.sweep()

    task = asyncio.create_task(sweep())
    try:
        yield
    finally:
        task.cancel()
        visitors.clear()


class WithHeaders:
    """An ASGI application whose answers have `HEADERS`, too."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Message, receive: Any, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *HEADERS.items()]}
            await send(message)

        await self.app(scope, receive, send_with_headers)
