"""What the OpenAPI document says of bodies and answers, beside what FastAPI finds out itself."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mmpipe.serve.problems import MEDIA_TYPE
from mmpipe.serve.uploads import ROLES


class KeyQuestion(BaseModel):
    """A clip of the store."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: str = Field(pattern=r"^[a-z0-9]{24}$", description="the clip's key", examples=["a" * 24])
    corpus: str | None = Field(
        None, min_length=1, max_length=128, description="where it lies; none: the corpus that the model learnt from"
    )


class Health(BaseModel):
    """Whether the server lives, or answers."""

    status: str


class LostPart(BaseModel):
    """Why a file, a clip or an input of it has no answer."""

    source: str
    code: str
    detail: str
    key: str | None = None
    feature: str | None = Field(None, description="an input that is missing; the clip may be answered from others")


class ClipAnswer(BaseModel):
    """What is said of one clip: beside its place, what the model's goal says."""

    model_config = ConfigDict(extra="allow")

    key: str
    start_s: float
    end_s: float


class Prediction(BaseModel):
    """What one version says."""

    model: str
    version: str
    request_id: str
    clips: list[ClipAnswer]
    unanswered: list[LostPart]


class ProblemDetails(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str = Field(description="why")
    instance: str = Field(description="where: the path")
    code: str = Field(description="short and stable, for programs")
    way_out: str
    request_id: str
    unanswered: list[LostPart] | None = None


_WHY = {
    400: "The form or the JSON cannot be parsed.",
    401: "The API key is missing or wrong.",
    403: "A page of another site asked, and no API key is asked for.",
    404: "There is no such clip, corpus or path.",
    405: "The path has other methods.",
    413: "The upload, the recording or a picture in it is larger than the limits.",
    415: "The body is no form and no JSON, or a file is none of the formats that are read.",
    421: "The Host header is none of this machine's own names, and no API key is asked for.",
    422: "The request is understood, but nothing in it can be answered about.",
    429: "All places are taken; Retry-After says when to come back.",
    500: "A fault of the server.",
    503: "No version is loaded yet, the server is stopping, or its disk space is taken; Retry-After.",
    504: "It took longer than the limit.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return how a path documents its errors."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {status: {"description": _WHY[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses}


def question_body() -> dict[str, Any]:
    """Return how the body of a question is documented: a form with a file per role, or a key."""
    file = {"type": "string", "contentMediaType": "application/octet-stream", "minLength": 1, "description": "one file"}
    form = {
        "type": "object",
        "properties": dict.fromkeys(ROLES, file),
        "additionalProperties": False,
        "minProperties": 1,
        "description": "the files of one asset",
    }
    key = {"$ref": "#/components/schemas/KeyQuestion"}
    return {
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": form}, "application/json": {"schema": key}},
        }
    }


def extra_schemas() -> dict[str, Any]:
    """Return the schemas that no path names as a model of its own."""
    template = "#/components/schemas/{model}"
    made = {model.__name__: model.model_json_schema(ref_template=template) for model in (KeyQuestion, ProblemDetails)}
    for schema in made.values():
        schema.pop("$defs", None)  # they are components already
    return made
