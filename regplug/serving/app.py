"""The HTTP application: predictions, health, metadata and metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from regplug.errors import RegplugError, RequestError
from regplug.serving.batching import Batcher, OverloadedError
from regplug.serving.bodies import Asked, MalformedError
from regplug.serving.metrics import Metrics
from regplug.serving.model import ServedModel

PATHS = ("/predict", "/health", "/metadata", "/metrics")
_MOST_FILES = 1000
_MOST_READ_HERE = 2**15
"""Bytes of a JSON body that is read in the event loop; larger ones are read in a thread."""

_BODY_TIMEOUT_S = 30.0
_HUNG_UP = 499
"""What nginx writes into its log for a client that hung up; nobody receives it."""

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TYPES = "application/json or multipart/form-data"


class FaultError(Exception):
    """A request that is refused.

    Args:
        status: The HTTP status.
        message: What is wrong.
        hint: What to do.
    """

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.hint = status, message, hint


def make_app(model: ServedModel, *, most_bytes: int) -> FastAPI:
    """Returns the application that serves a model.

    Args:
        model: The model.
        most_bytes: Size of the largest body.
    """
    metrics = Metrics(model.digest, model.manifest["task"] or "none")
    batcher = Batcher(model.compute, is_batched=model.is_batched, observe=metrics.computed)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        try:
            yield
        finally:
            await batcher.close()

    # The pages at /docs would load scripts from another site.
    app = FastAPI(
        title="regplug",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        # To ask at each request whether OpenTelemetry is set up costs a tenth of its time.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    endpoints = _Endpoints(model, batcher, metrics, most_bytes)
    # Plain routes: FastAPI's own would parse the body and cost a third of the time of a request.
    app.add_route("/predict", endpoints.predict, methods=["POST"])
    for path in ("health", "metadata", "metrics"):
        app.add_route(f"/{path}", getattr(endpoints, path), methods=["GET"])
    for kind in (FaultError, HTTPException, RegplugError, Exception):
        app.add_exception_handler(kind, _refused)
    metrics.waiting.set_function(lambda: batcher.waiting_rows)
    app.add_middleware(_Measured, metrics=metrics)
    return app


class _Endpoints:
    """The answers to each path."""

    def __init__(self, model: ServedModel, batcher: Batcher, metrics: Metrics, most_bytes: int) -> None:
        self._model, self._batcher, self._metrics, self._most_bytes = model, batcher, metrics, most_bytes

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "digest": self._model.digest})

    async def metadata(self, _: Request) -> Response:
        limits = {"max_body_bytes": self._most_bytes}
        return JSONResponse({"digest": self._model.digest, "limits": limits, "manifest": self._model.manifest})

    async def metrics(self, _: Request) -> Response:
        return Response(self._metrics.text(), media_type=_METRICS_TYPE)

    async def predict(self, request: Request) -> Response:
        asked = await self._read(request)
        try:
            outputs, spreads = await self._batcher.submit(asked.rows)
        except OverloadedError:
            raise FaultError(503, "Too many rows are waiting.", "Send the request again later.") from None
        wrong = self._model.not_finite(outputs)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise FaultError(422, f"The model's output for row {row} is not finite.", "Check the size of its values.")
        return JSONResponse(self._model.document(asked, outputs, spreads))

    async def _read(self, request: Request) -> Asked:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("application/json", "multipart/form-data"):
            raise FaultError(415, f"The content type is {kind or 'missing'}.", f"Send {_TYPES}.")
        body = await self._body(request)
        if kind == "application/json":
            read = partial(self._model.read_json, body)
            is_quick = len(body) <= _MOST_READ_HERE and self._model.is_quick_to_read(body)
        else:
            read, is_quick = partial(self._model.read_files, await _files(request, body)), False
        try:
            return read() if is_quick else await asyncio.to_thread(read)
        except MalformedError as error:
            raise FaultError(400, f"The body is not JSON: {error}.") from None

    async def _body(self, request: Request) -> bytes:
        try:
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                return await self._limited(request)
        except TimeoutError:
            raise FaultError(408, f"The body did not arrive within {_BODY_TIMEOUT_S:.0f} s.") from None
        except ClientDisconnect:
            raise FaultError(_HUNG_UP, "The client hung up before the body had arrived.") from None

    async def _limited(self, request: Request) -> bytes:
        length = request.headers.get("content-length", "")
        self._require_small(int(length) if length.isdecimal() else 0)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            self._require_small(len(body))
        return bytes(body)

    def _require_small(self, size: int) -> None:
        if size > self._most_bytes:
            limit = f"{self._most_bytes:,} bytes"
            raise FaultError(413, f"The body has more than {limit}.", "Send fewer rows, or start with --max-body-mib.")


async def _files(request: Request, body: bytes) -> list[tuple[str, bytes]]:
    async def chunks() -> AsyncIterator[bytes]:
        yield body

    try:
        form = await MultiPartParser(request.headers, chunks(), max_files=_MOST_FILES, max_fields=_MOST_FILES).parse()  # type: ignore[arg-type] # any asynchronous iterator will do
        return [(one.filename or "", await one.read()) for _, one in form.multi_items() if isinstance(one, UploadFile)]
    except (MultiPartException, KeyError, ValueError) as error:
        raise FaultError(400, f"The body is not a form: {error}.") from None


async def _refused(_: Request, error: Exception) -> Response:
    headers = None
    if isinstance(error, FaultError):
        status, message, hint = error.status, error.message, error.hint
        headers = {"Retry-After": "1"} if status == 503 else None
    elif isinstance(error, HTTPException):
        status, message, hint, headers = error.status_code, str(error.detail), f"There are {', '.join(PATHS)}.", None
    elif isinstance(error, RegplugError):
        status, message, hint = 422 if isinstance(error, RequestError) else 500, error.message, error.hint
    else:
        status, message, hint = 500, f"The server failed: {type(error).__name__}.", ""
    return JSONResponse({"error": {"message": message, "hint": hint}}, status_code=status, headers=headers)


_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class _Measured:
    """Measures every request: middleware of ASGI."""

    def __init__(self, app: Callable[[_Scope, _Receive, _Send], Awaitable[None]], metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def noticing(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noticing)
        finally:
            path = scope["path"] if scope["path"] in PATHS else "other"
            self._metrics.answered(path, status, time.perf_counter() - began)
