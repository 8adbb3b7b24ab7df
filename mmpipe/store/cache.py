"""Frames that can be made again from what is committed: kept with the runs, under their own digest, never the truth."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Mapping
from contextlib import suppress

import polars as pl

from mmpipe.errors import MmpipeError
from mmpipe.io import StorePath, make_directory, replace_durable
from mmpipe.store.layout import StoreLayout

_DIGEST_BYTES = 64


def cache_path(layout: StoreLayout, corpus: str, name: str) -> StorePath:
    """Return where a frame about a corpus is kept."""
    return layout.runs / "ledger" / f"{corpus}.{name}.arrow"


def load_frame(path: StorePath, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return a kept frame; an empty one where there is none, or where it is not what was written."""
    try:
        data = path.read_bytes()
        if hashlib.sha256(data[_DIGEST_BYTES:]).hexdigest().encode() == data[:_DIGEST_BYTES]:
            frame = pl.read_ipc(io.BytesIO(data[_DIGEST_BYTES:]))
            if dict(frame.schema) == dict(schema):
                return frame
    except (OSError, ValueError, pl.exceptions.PolarsError):
        pass  # as good as none: it is made again
    return pl.DataFrame(schema=schema)


def keep_frame(layout: StoreLayout, path: StorePath, frame: pl.DataFrame) -> None:
    """Keep a frame for the next time; a store that cannot be written does without."""
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="lz4")
    data = buffer.getvalue()
    with suppress(OSError, MmpipeError):
        make_directory(path.parent)
        temporary = make_directory(layout.staging) / f"{uuid.uuid4().hex}.arrow"
        replace_durable(path, hashlib.sha256(data).hexdigest().encode() + data, temporary)
