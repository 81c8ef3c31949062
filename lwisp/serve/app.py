"""The server's interface: what is asked for under which address, and what is answered."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, StreamingResponse
from fastapi.telemetry import TelemetryConfig
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from lwisp.errors import InputError, log
from lwisp.files.libraw import TIFF_SUFFIXES
from lwisp.files.raw import RAW_SUFFIXES
from lwisp.serve.description import ANSWERS, describe, form_of
from lwisp.serve.guard import HEADERS, Guard
from lwisp.serve.knobs import MEDIA_TYPES, Knobs, look_names, read_knobs, weights_names
from lwisp.serve.limits import Limits
from lwisp.serve.pages import files_of
from lwisp.serve.pool import Pool
from lwisp.serve.refusals import BUSY, FAILED, GONE, NOT_FOUND, RefusedError, status_of
from lwisp.serve.store import Job, Store, failure_of
from lwisp.serve.uploads import receive_fields, receive_photo

PAGE_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""Media types of the page's files by their suffixes."""
NO_TELEMETRY: TelemetryConfig = {"auto_configure": False, "tracing": False, "metrics": False, "logs": False}
"""FastAPI would send what it measures where variables of the environment say."""
WATCHER = "watcher"
"""Field of a form that tells which page waits for the picture."""
TICK = 0.25
"""Seconds between looks at what a page waits for."""
BEAT = 2.0
"""Seconds after which a page hears something in any case, which shows whether it is still there."""
MOST_WATCHERS = 64
"""Pages that may listen at once."""


def create_app(
    folder: Path,
    limits: Limits = Limits(),
    names: Collection[str] = (),
    is_loopback: bool = True,
    worker: Sequence[str] = (),
    is_verbose: bool = False,
) -> FastAPI:
    """The application, to be run by a server of one process.

    Args:
        folder: A private folder for what it holds.
        limits: What it takes and keeps at most.
        names: Names under which it may be asked for, beside "localhost" and addresses.
        is_loopback: Whether it listens to this machine alone.
        worker: The command that starts a worker, if it is not lwisp's own.
        is_verbose: Let workers print to stderr.
    """
    pool = Pool(limits, worker, is_verbose)
    store = Store(folder, pool, limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with pool:
            sweeping = asyncio.create_task(store.sweep())
            yield
            sweeping.cancel()

    app = FastAPI(
        title="lwisp",
        version=version("lwisp"),
        description="RAW files to finished pictures: the same as `lwisp develop` makes.",
        docs_url=None,
        redoc_url=None,
        telemetry=NO_TELEMETRY,
        lifespan=lifespan,
    )
    app.state.store = store
    app.add_middleware(Guard, names=names, is_loopback=is_loopback)
    _add_answers_to_errors(app)
    _add_page(app, store)
    _add_development(app, store)
    _add_jobs(app, store)
    return app


def _add_answers_to_errors(app: FastAPI) -> None:
    async def tell_input_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, InputError)
        headers = {}
        if isinstance(error, RefusedError) and error.retry_after is not None:
            headers["Retry-After"] = str(error.retry_after)
        return JSONResponse({"error": str(error), "kind": error.kind}, status_of(error), headers)

    async def tell_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = "not-found" if error.status_code == NOT_FOUND else "http"
        message = f"{request.method} {request.url.path[:100]}: {error.detail}; /docs tells what there is"
        return JSONResponse({"error": message, "kind": kind}, error.status_code, error.headers)

    async def tell_disconnect(request: Request, error: Exception) -> Response:
        return Response(status_code=400)  # nobody reads it

    async def tell_unforeseen(request: Request, error: Exception) -> Response:
        log.debug("%s", request.url.path, exc_info=error)
        message = f"failed for an unforeseen reason ({type(error).__name__}); lwisp --verbose serve shows where"
        return JSONResponse({"error": message, "kind": "unforeseen"}, FAILED, HEADERS)  # this one passes by the guard

    app.add_exception_handler(InputError, tell_input_error)
    app.add_exception_handler(HTTPException, tell_http_error)
    app.add_exception_handler(ClientDisconnect, tell_disconnect)
    app.add_exception_handler(Exception, tell_unforeseen)


def _add_page(app: FastAPI, store: Store) -> None:
    def serve_file(content: bytes, media_type: str) -> Callable[[], Coroutine[Any, Any, Response]]:
        async def serve() -> Response:
            return Response(content, media_type=media_type)

        return serve

    for name, content in files_of("page").items():
        path = "/" if name == "index.html" else f"/{name}"
        app.add_api_route(path, serve_file(content, PAGE_TYPES[Path(name).suffix]), include_in_schema=False)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(describe(app.openapi()))

    @app.get("/settings", summary="What may be sent and told")
    async def settings() -> dict[str, Any]:
        """The limits, and the names of the weights and looks that are here."""
        weights, looks = await asyncio.to_thread(lambda: (weights_names(), look_names()))
        return {
            "version": app.version,
            "upload": store.limits.upload,
            "seconds": store.limits.seconds,
            "suffixes": sorted(RAW_SUFFIXES | TIFF_SUFFIXES),
            "weights": weights,
            "looks": looks,
        }

    @app.get("/events/{watcher}", include_in_schema=False)
    async def events(watcher: str) -> StreamingResponse:
        if len(store.watching) >= MOST_WATCHERS:
            raise RefusedError(BUSY, "busy", f"{MOST_WATCHERS} pages are open already; close some", 10)
        return StreamingResponse(_tell_all(store, watcher[:64]), media_type="text/event-stream")


async def _tell_all(store: Store, watcher: str) -> AsyncIterator[str]:
    """Server-sent events: each job of a page whenever something about it has changed."""
    told: dict[str, str] = {}
    store.watch(watcher)
    try:
        yield "retry: 1000\n\n"
        silent = 0.0
        while True:
            now = {job.id: json.dumps(store.tell(job)) for job in store.of_watcher(watcher)}
            for name, message in now.items():
                if told.get(name) != message:
                    silent = 0.0
                    yield f"data: {message}\n\n"
            told = now
            silent += TICK
            if silent >= BEAT:
                silent = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(TICK)
    finally:
        store.unwatch(watcher)


async def _checked_knobs(fields: dict[str, str]) -> Knobs:
    """Knobs of a form's fields; raises `InputError`."""
    knobs = read_knobs(fields)
    await asyncio.to_thread(knobs.check)
    return knobs


async def _begin(request: Request, store: Store) -> Job:
    """Receive a photo, and begin a picture of it; raises `InputError`."""
    photo, fields = await receive_photo(request, store)
    watcher = fields.pop(WATCHER, "")[:64]
    try:
        return await store.start(photo, await _checked_knobs(fields), watcher)
    except BaseException:
        store.remove_photo(photo)
        raise


def _add_development(app: FastAPI, store: Store) -> None:
    async def forget(job: Job) -> None:  # not in a thread, as tasks of plain functions are
        store.remove(job)

    @app.post(
        "/develop",
        summary="A RAW developed: the picture is the answer",
        response_class=FileResponse,
        responses=ANSWERS
        | {200: {"description": "The picture", "content": {media_type: {} for media_type in MEDIA_TYPES.values()}}},
        openapi_extra=form_of(has_file=True),
    )
    async def develop(request: Request) -> Response:
        """Send a form with the RAW in the field file; the picture is what `lwisp develop` writes. Whoever closes the
        connection before has it cancelled."""
        job = await _begin(request, store)
        try:
            await _until_ended(job, request)
            if job.state != "done":
                raise failure_of(job)
            return _picture(job, BackgroundTask(forget, job))
        except BaseException:
            store.remove(job)
            raise


async def _until_ended(job: Job, request: Request) -> None:
    """Wait for a job; raises `ClientDisconnect` where nobody waits for the answer any more."""

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    waiting = {asyncio.create_task(job.ended.wait()), asyncio.create_task(disconnected())}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    if not job.ended.is_set():
        raise ClientDisconnect


def _picture(job: Job, then: BackgroundTask | None = None) -> Response:
    """The answer that holds a job's picture."""
    name, media_type = job.download_name, MEDIA_TYPES[job.knobs.format]
    return FileResponse(job.output, media_type=media_type, filename=name, background=then)


def _add_jobs(app: FastAPI, store: Store) -> None:
    @app.post(
        "/jobs",
        status_code=202,
        summary="Begin a picture of a RAW",
        responses=ANSWERS,
        openapi_extra=form_of(has_file=True),
    )
    async def begin(request: Request) -> dict[str, Any]:
        """Send a form as to /develop; the answer is a job, whose picture is made meanwhile."""
        return store.tell(await _begin(request, store))

    @app.post(
        "/jobs/{id}/again",
        status_code=202,
        summary="Begin another picture of the same RAW",
        responses=ANSWERS,
        openapi_extra=form_of(has_file=False),
    )
    async def begin_again(id: str, request: Request) -> dict[str, Any]:
        """Send a form with other knobs; the answer is a job of its own."""
        photo = store.find(id).photo
        fields = await receive_fields(request, store)
        watcher = fields.pop(WATCHER, "")[:64]
        return store.tell(await store.start(photo, await _checked_knobs(fields), watcher))

    @app.get("/jobs/{id}", summary="What is known of a job", responses=ANSWERS)
    async def tell(id: str) -> dict[str, Any]:
        """state is waiting, reading, developing, done, failed or cancelled; place is how many are before it."""
        return store.tell(store.find(id))

    @app.delete("/jobs/{id}", status_code=204, summary="Give up a job, and forget its picture", responses=ANSWERS)
    async def remove(id: str) -> None:
        """The RAW goes with its last job."""
        store.remove(store.find(id))

    @app.get("/jobs/{id}/picture", summary="The picture", response_class=FileResponse, responses=ANSWERS)
    async def picture(id: str) -> Response:
        """As soon as the job's state is done."""
        job = store.find(id)
        if job.state in ("failed", "cancelled"):
            raise failure_of(job)
        if job.state != "done":
            raise RefusedError(
                NOT_FOUND, "not-ready", f"{job.photo.name}: {job.state}; ask again when the job is done", 1
            )
        return _kept(_picture(job), job.output)

    @app.get("/jobs/{id}/before", summary="rawpy's default picture", response_class=FileResponse, responses=ANSWERS)
    async def before(id: str) -> Response:
        """With the camera's white balance, as a JPEG of the part that the developed picture shows."""
        path = await store.show_before(store.find(id))
        return _kept(FileResponse(path, media_type="image/jpeg"), path)

    @app.get("/jobs/{id}/camera", summary="The camera's own picture", response_class=FileResponse, responses=ANSWERS)
    async def camera(id: str) -> Response:
        """The JPEG that the RAW embeds, upright."""
        photo = store.find(id).photo
        if not photo.has_camera:
            raise RefusedError(NOT_FOUND, "not-found", f"{photo.name}: no embedded JPEG is known of it")
        return _kept(FileResponse(photo.camera_file, media_type="image/jpeg"), photo.camera_file)


def _kept(answer: Response, path: Path) -> Response:
    """An answer with a file, if that is still there; raises `RefusedError`."""
    if not path.is_file():
        raise RefusedError(GONE, "gone", "this picture is not kept any more; make it again")
    return answer
