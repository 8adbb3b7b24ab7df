"""Joined samples as WebDataset tars: `KEY.FEATURE.npy`, `KEY.FEATURE.times.npy`, `KEY.json`.

Stock webdataset splits a member's name at its first dot, and a key has none: so the fields of a sample are
`audio-logmel@1.npy`, `audio-logmel@1.times.npy` and `json`. Every sample has the same members in the same order; a
missing modality is an array with no numbers, and `present` in the JSON says so.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.export.sample import (
    FACT_MEANING,
    Column,
    Joined,
    Shape,
    WrittenFile,
    axes_of,
    empty_value,
    meta_of,
    times_meaning,
)
from mmpipe.io import canonical_json


class WebDatasetFormat:
    """Write one tar per batch, reproducibly: nothing of the moment is in it."""

    def write_split(self, folder: Path, split: str, batches: Iterator[list[Joined]], shape: Shape) -> list[WrittenFile]:
        """Write `SPLIT-000000.tar` and so on."""
        files = []
        for number, batch in enumerate(batches):
            name = f"{split}-{number:06d}.tar"
            with tarfile.open(folder / name, "x", format=tarfile.USTAR_FORMAT) as tar:
                for sample in batch:
                    for member, content in fields_of(sample, shape):
                        _add(tar, f"{sample.key}.{member}", encode(content))
            files.append(WrittenFile(name=name, clips=len(batch)))
        return files

    def how_to_read(self, shape: Shape, files: Mapping[str, list[WrittenFile]]) -> str:
        """Return a program for webdataset."""
        split, found = next(iter(files.items()))
        last = len(found) - 1
        braces = f"{{000000..{last:06d}}}" if last else "000000"
        fields = "\n".join(
            f'    x = sample["{schema.feature}.npy"]  # {axes_of(schema)}; no numbers where the clip lacks it'
            for schema in shape.features
        )
        return (
            "import webdataset as wds\n\n"
            f'samples = wds.WebDataset("{split}-{braces}.tar", shardshuffle=False).decode()\n'
            f'for sample in samples:\n    clip = sample["json"]\n{fields}'
        )

    def columns(self, shape: Shape) -> list[Column]:
        """Return the fields of a sample, then those of its JSON."""
        found = [Column(name="__key__", type="string", meaning=FACT_MEANING["key"])]
        for schema in shape.features:
            meaning = f"`{axes_of(schema)}`: the {schema.modality.value} feature; no numbers where the clip lacks it"
            found.append(Column(name=f"{schema.feature}.npy", type=schema.dtype, meaning=meaning))
            if schema in shape.sequences:
                times = Column(name=f"{schema.feature}.times.npy", type="int64", meaning=times_meaning(schema))
                found.append(times)
        found.append(Column(name="json", type="object", meaning="what is known of the clip, as below"))
        objects = {
            "labels": "the labels table's columns, each a text; empty where its row says nothing",
            "present": "by feature: true where the clip has it",
        }
        for name in ("key", *shape.facts, *objects):
            kind = "object" if name in objects else "integer" if name in shape.whole_numbers else "string"
            meaning = objects.get(name) or FACT_MEANING[name]
            found.append(Column(name=f'json["{name}"]', type=kind, meaning=meaning))
        return found


def fields_of(sample: Joined, shape: Shape) -> Iterator[tuple[str, np.ndarray | dict[str, Any]]]:
    """Yield a sample's fields by the names that webdataset gives them, as what it decodes them to."""
    for schema in shape.features:
        value = sample.values[schema.feature]
        yield f"{schema.feature}.npy", empty_value(schema) if value is None else value
        if schema in shape.sequences:
            times_ns = sample.times_ns.get(schema.feature)
            yield f"{schema.feature}.times.npy", np.empty(0, np.int64) if times_ns is None else times_ns
    yield "json", meta_of(sample, shape)


def encode(content: np.ndarray | dict[str, Any]) -> bytes:
    """Return the bytes of a member."""
    if isinstance(content, dict):
        return canonical_json(content)
    return _npy_header(content.shape, content.dtype.str) + content.tobytes()


@lru_cache(maxsize=1024)
def _npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # time 0, owner 0
    member.size = len(data)
    member.mode = 0o644
    tar.addfile(member, io.BytesIO(data))
