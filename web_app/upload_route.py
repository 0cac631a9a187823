"""Where the page sends a visitor's file, in the place of gradio's own route.

Gradio's keeps files under a name made of their content, which two visitors may share, and has no owner of them.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from common.characters import one_line
from web_app.arrivals import Arrivals
from web_app.bodies import BodyRefused, in_time, limited
from web_app.desk import Busy
from web_app.uploads import Limits, Upload

UPLOAD = "/gradio_api/upload"  # where gradio's components send files
FORM_BYTES = 2**16  # of a form around its file


def upload_routes(arrivals: Arrivals, limits: Limits) -> APIRouter:
    """The routes of gradio that would write what a visitor sent to this machine's disk."""
    router = APIRouter()

    @router.post(UPLOAD)
    async def upload(request: Request) -> Response:
        try:
            sent = await in_time(_read(request, limits))
            return JSONResponse([str(await run_in_threadpool(arrivals.add, sent))])
        except Busy as error:
            return PlainTextResponse(str(error), 503, {"Retry-After": "2"})
        except BodyRefused as error:  # the rest of the body is not read
            return PlainTextResponse(str(error), error.status, {"Connection": "close"})
        except HTTPException as error:  # starlette's, for a damaged form, and for one with more files
            return PlainTextResponse(f"The form cannot be read: {one_line(error.detail)}", 400)

    @router.get(UPLOAD + "_progress")
    async def progress() -> Response:
        return Response(status_code=204)  # none is shown: browsers do not ask again

    @router.get("/gradio_api/deep_link")
    async def deep_link() -> Response:  # gradio's would write the visitor's page, preview included, to a file
        return PlainTextResponse("The page's own address holds its settings", 404)

    return router


async def _read(request: Request, limits: Limits) -> Upload:
    """The form's one file.

    Raises:
        BodyRefused: its size is not stated, or too large.
        HTTPException: it is no form with one file.
    """
    limit = f"max_upload_mb={limits.upload_mb} is the limit: make it smaller"
    request = limited(request, limits.upload_bytes, limit, FORM_BYTES)
    async with request.form(max_files=1, max_fields=1) as form:
        files = [each for each in form.getlist("files") if isinstance(each, UploadFile)]
        if not files:
            raise HTTPException(400, "there is no file in it")
        if (files[0].size or 0) > limits.upload_bytes:
            raise BodyRefused(413, f"The file has {(files[0].size or 0) / 2**20:.1f} MiB, and {limit}")
        return Upload(files[0].filename or "the file", await files[0].read())
