"""Errors as RFC 9457 has them: what, where, why and the way out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from mmpipe.serve.predictor import Lost

MEDIA_TYPE = "application/problem+json"
_NO_MEDIA = frozenset({"not_media", "format_not_allowed", "unknown_type", "no_streams", "array_dtype"})
_WAYS_OUT = {
    400: "Send multipart/form-data with one file per role, or a JSON object with `key`.",
    401: "Send the key as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
    403: "Ask from a program, or have the operator set an API key.",
    404: "See what there is: GET /openapi.json; for clips: mmpipe ls.",
    405: "See the methods of a path: GET /openapi.json.",
    413: "Send less: a smaller file or a shorter recording, or ask the operator for higher limits.",
    415: "Send video, audio, a picture or text in one of the formats that mmpipe reads.",
    421: "Ask under 127.0.0.1 or localhost, or have the operator set an API key.",
    422: "Look at the file: it may be damaged, or hold none of what the model reads.",
    429: "Wait as long as Retry-After says, and send it again.",
    500: "Tell the operator the request id; the server's log has the rest.",
    503: "Wait a moment, and send it again.",
    504: "Send a shorter recording, or ask the operator for more time.",
}


@dataclass(slots=True, kw_only=True)
class Problem(Exception):
    """A request that is not answered, and why."""

    status: int
    code: str  # short and stable, for programs and metrics
    detail: str
    way_out: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: tuple[Lost, ...] = ()

    def as_json(self, where: str, request_id: str) -> dict[str, object]:
        """Return the body of the answer."""
        told: dict[str, object] = {
            "type": f"urn:mmpipe:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": where,
            "code": self.code,
            "way_out": self.way_out or _WAYS_OUT.get(self.status, _WAYS_OUT[400]),
            "request_id": request_id,
        }
        return told | ({"unanswered": [lost.as_json() for lost in self.lost]} if self.lost else {})


def unusable(lost: tuple[Lost, ...]) -> Problem:
    """Return the problem of an upload of which nothing could be answered: its first reason decides what it is."""
    first = next((one for one in lost if one.code != "sibling_unusable"), None)
    if first is None:
        return Problem(status=422, code="no_input", detail="nothing of the upload can be used", lost=lost)
    status = 413 if first.code.startswith("limit_") else 415 if first.code in _NO_MEDIA else 422
    status = 504 if first.code == "timeout" else status
    return Problem(status=status, code=first.code, detail=f"{first.source}: {first.detail}", lost=lost)
