"""The document says what the server does: schemathesis sends what it allows, and what it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.schemas import BaseSchema
from served import SUFFIXES, Serve

from mmpipe.serve.app import make_app
from mmpipe.serve.fake import FakePredictor
from mmpipe.serve.limits import ServeLimits
from mmpipe.serve.service import Service

KEY = "s3cret"
BOUNDED = settings(
    max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def api(tmp_path: Path) -> BaseSchema:
    """Return the document of a server that is ready."""

    def service() -> Service:
        made = Service(ServeLimits(upload_bytes=1 << 16), SUFFIXES, tmp_path)
        asyncio.run(made.take_over(FakePredictor()))
        return made

    return schemathesis.openapi.from_asgi("/openapi.json", make_app(service, KEY))


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_as_the_document_says(api: BaseSchema, mode: GenerationMode) -> None:
    seen: set[int] = set()
    for found in api.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr] # an error has no `ok`, and fails here
        if mode is GenerationMode.NEGATIVE and not operation.body:
            continue  # there is nothing that could be wrong with it

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        def check(case: schemathesis.Case) -> None:
            told = case.call(headers={"X-API-Key": KEY})
            seen.add(told.status_code)
            case.validate_response(told, headers={"X-API-Key": KEY})

        check()
    assert (200 in seen) == (mode is GenerationMode.POSITIVE) and max(seen) < 500


def test_the_document_stands_alone_and_names_every_error(serve: Serve, tmp_path: Path) -> None:
    async def run() -> None:
        async with serve() as served:
            document = (await served.client.get("/openapi.json")).json()
            assert (await served.client.get("/docs")).status_code == 404
        operation = document["paths"]["/v1/predict"]["post"]
        assert {"400", "401", "413", "415", "422", "429", "503", "504"} <= operation["responses"].keys()
        body = operation["requestBody"]["content"]
        assert set(body["multipart/form-data"]["schema"]["properties"]) == {"video", "audio", "image", "text"}
        assert "http://" not in str(document) and "https://" not in str(document)

    asyncio.run(run())
