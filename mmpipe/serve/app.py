"""The HTTP application: paths, keys, problems; what a question is worth is the service's business."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version as version_of
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from mmpipe.serve.envelope import REQUEST_ID, Envelope, KeyGate, LocalGate
from mmpipe.serve.problems import MEDIA_TYPE, Problem
from mmpipe.serve.schema import Health, KeyQuestion, Prediction, extra_schemas, problems, question_body
from mmpipe.serve.service import Reply, Service
from mmpipe.serve.uploads import too_large

_LOG = logging.getLogger(__name__)
_OPEN_PATHS = frozenset({"/healthz", "/readyz", "/openapi.json"})  # that need no key
_PREDICT = "/v1/predict"
Life = Callable[[Service], AbstractAsyncContextManager[None]]


def make_app(service: Callable[[], Service], api_key: str = "", life: Life | None = None) -> FastAPI:
    """Return the application. `service` is called inside the event loop; `life` runs beside it, as what swaps versions
    does; with an `api_key` every path but health and the document asks for it; without one
    only programs of this machine are answered."""
    made = service()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with (life or _idle)(made):
            yield
        await made.close()

    app = FastAPI(
        title="mmpipe serve",
        version=version_of("mmpipe"),
        summary="Ask a released multimodal model about a recording.",
        docs_url=None,  # FastAPI's page loads scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = made

    @app.get("/healthz", tags=["operation"], summary="Say that the process lives", responses=problems(403, 405, 421))
    async def healthz() -> Health:
        return Health(status="ok")

    @app.get(
        "/readyz",
        tags=["operation"],
        summary="Say whether questions are answered",
        responses=problems(403, 405, 421, 503),
    )
    async def readyz() -> Health:
        if not made.is_ready:
            raise Problem(status=503, code="not_ready", detail="no version is warm", headers={"Retry-After": "5"})
        return Health(status="ready")

    @app.get(
        "/metrics",
        tags=["operation"],
        summary="Give Prometheus its text",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(401, 403, 405, 421)},
    )
    async def metrics() -> Response:
        return Response(made.meters.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.post(
        _PREDICT,
        tags=["questions"],
        summary="Ask about the files of one asset, or about a clip of the store",
        response_model=Prediction,
        response_model_exclude_none=True,
        responses=problems(400, 401, 403, 404, 405, 413, 415, 421, 422, 429, 500, 503, 504),
        openapi_extra=question_body(),
    )
    async def predict(request: Request) -> Response:
        try:
            reply = await _answer(made, request)
        except (Problem, HTTPException, ClientDisconnect):
            raise
        except Exception as error:
            _LOG.exception("request %s failed", _id(request))
            raise Problem(status=500, code="fault", detail="the server failed on this request") from error
        return JSONResponse(_told(reply, _id(request)))

    @app.exception_handler(Problem)
    async def on_problem(request: Request, problem: Problem) -> Response:
        return _problem(request, problem)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        code = {404: "no_such_path", 405: "no_such_method"}.get(error.status_code, "http")
        headers = dict(error.headers or {})
        return _problem(
            request, Problem(status=error.status_code, code=code, detail=str(error.detail), headers=headers)
        )

    if api_key:
        app.add_middleware(KeyGate, api_key=api_key, open_paths=_OPEN_PATHS)
    else:
        app.add_middleware(LocalGate)
    app.add_middleware(Envelope, meters=made.meters, routes=frozenset({_PREDICT, "/metrics", *_OPEN_PATHS}))
    app.openapi = lambda: _openapi(app, bool(api_key))  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _idle(_: Service) -> AsyncIterator[None]:
    yield


async def _answer(service: Service, request: Request) -> Reply:
    """Answer a form or a key, by its content type."""
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        _require_length(service, request)
        return await service.answer_upload(content_type, request.stream())
    if kind == "application/json":

        async def asked() -> tuple[str, str | None]:
            question = await _key_question(service, request)
            return question.key, question.corpus

        return await service.answer_key(asked)
    raise Problem(status=415, code="content_type", detail=f"a question is no {kind or 'body without a content type'}")


def _require_length(service: Service, request: Request) -> None:
    """Refuse what says itself that it is too large, before a byte of it is read."""
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > service.limits.upload_bytes:
        raise too_large(service.limits)


async def _key_question(service: Service, request: Request) -> KeyQuestion:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > service.limits.json_bytes:
            detail = f"a JSON question may have {service.limits.json_bytes} bytes"
            raise Problem(status=413, code="json_too_large", detail=detail)
    try:
        return KeyQuestion.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        status = 400 if first["type"] == "json_invalid" else 422
        raise Problem(status=status, code="bad_question", detail=f"{where or 'the body'}: {first['msg']}") from error


def _told(reply: Reply, request_id: str) -> dict[str, Any]:
    return {
        "model": reply.model,
        "version": reply.version,
        "request_id": request_id,
        "clips": [dict(clip) for clip in reply.said.clips],
        "unanswered": [lost.as_json() for lost in reply.said.lost],
    }


def _problem(request: Request, problem: Problem) -> Response:
    body = json.dumps(problem.as_json(request.url.path, _id(request)), allow_nan=False)
    return Response(body, problem.status, dict(problem.headers), MEDIA_TYPE)


def _id(request: Request) -> str:
    return str(getattr(request.state, REQUEST_ID, ""))


def _openapi(app: FastAPI, has_key: bool) -> dict[str, Any]:
    """Return the document: FastAPI's, with the bodies that are streamed, and the key where one is asked for."""
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    document["components"]["schemas"] |= extra_schemas()
    if has_key:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        for path, methods in document["paths"].items():
            for operation in methods.values() if path not in _OPEN_PATHS else ():
                operation["security"] = [{"bearer": []}, {"header": []}]
    app.openapi_schema = document
    return document
