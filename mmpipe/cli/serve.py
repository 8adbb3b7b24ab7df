"""The verb that answers questions to a released model over HTTP."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from mmpipe.cli.options import DEFAULT_CONFIG, ConfigPath
from mmpipe.cli.show import print_notes
from mmpipe.config import load_config
from mmpipe.errors import ConfigError

_MEBIBYTE = 1 << 20
_USUAL_VARIABLE = "MMPIPE_API_KEY"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(serve)


def serve(
    config: ConfigPath = DEFAULT_CONFIG,
    model: Annotated[
        str | None, typer.Option(help="NAME or NAME@production, which is followed where it moves, or NAME@VERSION.")
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine only with an API key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes any port that is free.")] = 8080,
    device: Annotated[str, typer.Option(help="Where encoders compute: auto, cpu, cuda or cuda:1.")] = "auto",
    api_key_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help='The environment variable with the API key (MMPIPE_API_KEY), or "" for no key.'
        ),
    ] = None,
    max_upload_mb: Annotated[int, typer.Option(min=1, help="Largest request, in MiB.")] = 64,
    max_temporary_mb: Annotated[int, typer.Option(min=1, help="All uploads on the disk at once, in MiB.")] = 512,
    max_duration_s: Annotated[float, typer.Option(min=0.001, help="Longest recording.")] = 600.0,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Wall time of a request.")] = 30.0,
    max_queue: Annotated[int, typer.Option(min=0, help="Requests that may wait for a worker.")] = 16,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read uploads; 0: one per core.")] = 0,
    batch_window_ms: Annotated[float, typer.Option(min=0, help="How long a question waits for others.")] = 4.0,
    max_batch: Annotated[int, typer.Option(min=1, help="Questions that are answered by one call.")] = 32,
    drain_s: Annotated[float, typer.Option(min=0, help="For what is under way when it is told to stop.")] = 30.0,
) -> None:
    """Answer questions to a released model over HTTP, until told to stop; see /openapi.json."""
    from mmpipe.serve.limits import ServeLimits
    from mmpipe.steps.serve.server import ServeSettings, serve_model

    settings = load_config(config)
    limits = ServeLimits(
        upload_bytes=max_upload_mb * _MEBIBYTE,
        temporary_bytes=max_temporary_mb * _MEBIBYTE,
        timeout_s=timeout_s,
        workers=workers or len(os.sched_getaffinity(0)),
        queue=max_queue,
        batch_window_s=batch_window_ms / 1000,
        batch_questions=max_batch,
        drain_s=drain_s,
    )
    asked = ServeSettings(
        reference=model or settings.model(None)[0],
        host=host,
        port=port,
        api_key=_api_key(api_key_env),
        device=device,
        duration_s=max_duration_s,
        limits=limits,
    )
    serve_model(settings, asked, lambda line: print_notes([line]))


def _api_key(variable: str | None) -> str:
    """Return the key that a variable holds: who names one means to be guarded, so an empty one is refused."""
    if variable == "":
        return ""
    key = os.environ.get(variable or _USUAL_VARIABLE, "").strip()
    if variable and not key:
        raise ConfigError(
            f"--api-key-env {variable}: the environment has no such variable, or it is empty. Put the key into it, or "
            'say --api-key-env "" where none is to be asked for.'
        )
    return key
