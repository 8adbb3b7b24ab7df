"""The addresses of the app: from a URL to a question, and from its answer to a page or its JSON twin."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mmpipe.app.access import Access
from mmpipe.app.guard import REPORT_POLICY, Guard
from mmpipe.app.pages import render, stylesheet
from mmpipe.app.site import BusyError, NotHereError, Site
from mmpipe.app.twin import to_json
from mmpipe.app.values.clips import PreviewKind, SamplesAsk
from mmpipe.app.values.matrix import MatrixAsk
from mmpipe.app.values.quarantine import QuarantineAsk
from mmpipe.errors import ConfigError, MmpipeError, SampleError, TransientError

LOGGER = logging.getLogger("mmpipe.app")
HTML, JSON = "text/html; charset=utf-8", "application/json"
_MEDIA = {PreviewKind.FILM: "video/mp4", PreviewKind.SOUND: "audio/mp4", PreviewKind.SPECTRUM: "image/png"}
_MOST_LETTERS = 200  # of a word that is searched for
_MOST_PAGES = 1_000_000
Make = Callable[[Site, Request], Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What the JSON twin of a page of an error holds."""

    title: str
    why: str


def make_app(site: Site, access: Access) -> ASGIApp:
    """Return the whole app over a site, its guard in front."""
    pages: tuple[tuple[str, Make], ...] = (
        ("/", _page("overview", lambda site, ask: site.overview())),
        ("/corpora/{corpus}", _page("matrix", lambda site, ask: site.matrix(_corpus(ask), _matrix_ask(ask)))),
        (
            "/corpora/{corpus}/quarantine",
            _page("quarantine", lambda site, ask: site.quarantine(_corpus(ask), _quarantine_ask(ask))),
        ),
        (
            "/corpora/{corpus}/samples",
            _page("samples", lambda site, ask: site.samples(_corpus(ask), _samples_ask(ask))),
        ),
        ("/corpora/{corpus}/datasets", _page("datasets", lambda site, ask: site.datasets(_corpus(ask)))),
        (
            "/corpora/{corpus}/datasets/{name}",
            _page("dataset", lambda site, ask: site.dataset(_corpus(ask), _part(ask, "name"), _number(ask, "page"))),
        ),
        (
            "/corpora/{corpus}/clips/{key:path}",  # an asset's or a source's name may hold a slash
            _page("clip", lambda site, ask: site.clip(_corpus(ask), _part(ask, "key"), _word(ask, "dt"))),
        ),
        ("/corpora/{corpus}/values/{key}/{feature}", _value_picture),
        ("/corpora/{corpus}/previews/{key}/{kind}", _preview),
        ("/models", _page("models", lambda site, ask: site.models())),
        (
            "/models/{model}/{label}",
            _page("version", lambda site, ask: site.version(_part(ask, "model"), _part(ask, "label"))),
        ),
        ("/snapshots", _page("snapshots", lambda site, ask: site.snapshots(_number(ask, "page")))),
        (
            "/snapshots/{reference}",
            _page("snapshot", lambda site, ask: site.snapshot(_part(ask, "reference"), _number(ask, "page"))),
        ),
        ("/runs", _page("runs", lambda site, ask: site.runs())),
        ("/reports/{name}", _report),
        ("/style.css", lambda site, ask: Response(stylesheet(), media_type="text/css")),
        ("/favicon.ico", lambda site, ask: Response(status_code=204)),
        ("/healthz", lambda site, ask: Response(b"ok\n", media_type="text/plain")),
    )
    routes = [Route(path, _endpoint(site, make), methods=["GET"]) for path, make in pages]
    return cast(ASGIApp, Guard(Starlette(routes=routes, exception_handlers={404: _no_such_page}), access))


def _endpoint(site: Site, make: Make) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers a request: in a thread, as all of it reads files; what goes wrong is a page too."""

    async def answer(request: Request) -> Response:
        try:
            return await run_in_threadpool(make, site, request)
        except MmpipeError as error:
            return _fault(request, error)
        except Exception:
            LOGGER.exception("%s could not be shown", request.url.path)
            return _fault_page(request, 500, "Something went wrong here", "The terminal of the app tells more.")

    return answer


def _page(template: str, ask_site: Callable[[Site, Request], Any]) -> Make:
    """Return what makes a page, or its twin where the URL asks for it."""

    def make(site: Site, request: Request) -> Response:
        page = ask_site(site, request)
        if _wants_json(request):
            return Response(to_json(page), media_type=JSON)
        text = render(template, page=page, query=dict(request.query_params), address=request.url.path)
        return Response(text, media_type=HTML)

    return make


# --------------------------------------------------------------------------- what is no page


def _value_picture(site: Site, request: Request) -> Response:
    feature = _part(request, "feature").removesuffix(".png")
    data = site.value_picture(_corpus(request), _part(request, "key"), _word(request, "dt"), feature)
    return Response(data, media_type="image/png")


def _preview(site: Site, request: Request) -> Response:
    wanted = _part(request, "kind").removeprefix("clip.")
    if wanted not in [str(kind) for kind in PreviewKind]:
        raise NotHereError(f"no preview is called so; there are: {', '.join(f'clip.{kind}' for kind in PreviewKind)}")
    kind = PreviewKind(wanted)
    path = site.preview(_corpus(request), _part(request, "key"), _word(request, "dt"), kind)
    # It answers a part of the file where the player asks for one, so that it can seek.
    return _PreviewFile(request, path, _MEDIA.get(kind, "image/jpeg"))


class _PreviewFile(FileResponse):
    """A preview; one that was removed as soon as it was found is asked for again."""

    def __init__(self, request: Request, path: Path, media_type: str) -> None:
        super().__init__(path, media_type=media_type)
        self._request = request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.stat_result = os.stat(self.path)
            self.set_stat_headers(self.stat_result)
        except FileNotFoundError:
            error = BusyError("This preview was removed to make room, or as something was forgotten. Ask again.")
            await _fault(self._request, error)(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


def _report(site: Site, request: Request) -> Response:
    data, kind = site.report(_part(request, "name"))
    return Response(data, media_type=kind, headers={"content-security-policy": REPORT_POLICY})


# --------------------------------------------------------------------------- what is asked


def _corpus(request: Request) -> str:
    return _part(request, "corpus")


def _part(request: Request, name: str) -> str:
    return str(request.path_params[name])


def _word(request: Request, name: str) -> str:
    return request.query_params.get(name, "").strip()[:_MOST_LETTERS]


def _number(request: Request, name: str) -> int:
    text = _word(request, name)
    return min(max(int(text), 1), _MOST_PAGES) if text.isdecimal() and len(text) < 9 else 1


def _matrix_ask(request: Request) -> MatrixAsk:
    return MatrixAsk(
        feature=_word(request, "feature"),
        state=_word(request, "state"),
        first=_word(request, "first"),
        last=_word(request, "last"),
        page=_number(request, "page"),
    )


def _quarantine_ask(request: Request) -> QuarantineAsk:
    words = {name: _word(request, name) for name in ("stage", "code", "dt", "text")}
    return QuarantineAsk(**words, page=_number(request, "page"))


def _samples_ask(request: Request) -> SamplesAsk:
    words = {name: _word(request, name) for name in ("dt", "split", "text")}
    return SamplesAsk(**words, page=_number(request, "page"))


# --------------------------------------------------------------------------- what goes wrong


def _fault(request: Request, error: MmpipeError) -> Response:
    """Answer an error of ours: what, why and the way out stand in its text."""
    if isinstance(error, NotHereError):
        return _fault_page(request, 404, "There is no such thing here", str(error))
    if isinstance(error, BusyError | TransientError):
        return _fault_page(request, 503, "Ask again in a moment", str(error))
    if isinstance(error, SampleError):
        return _fault_page(request, 422, "This clip cannot be shown", error.detail)
    title = "The config must be put right" if isinstance(error, ConfigError) else "This cannot be read"
    return _fault_page(request, 500, title, str(error))


async def _no_such_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _fault_page(request, 404, "There is no such page", "The bar above leads to every page there is.")


def _fault_page(request: Request, status: int, title: str, why: str) -> Response:
    headers = {"retry-after": "2"} if status == 503 else {}
    if _wants_json(request):
        body: str | bytes = to_json(Fault(title=title, why=why))
        return Response(body, status, headers, media_type=JSON)
    text = render("fault", status=status, title=title, why=why, query={}, address=request.url.path)
    return Response(text, status, headers, media_type=HTML)


def _wants_json(request: Request) -> bool:
    query: QueryParams = request.query_params
    return query.get("format") == "json"
