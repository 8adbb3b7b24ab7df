"""Joined samples as WebDataset tars: `KEY.FEATURE.npy`, `KEY.FEATURE.times.npy`, `KEY.json`.

Stock webdataset splits a member's name at its first dot, and a key has none: so the fields of a sample are
`audio-logmel@1.npy`, `audio-logmel@1.times.npy` and `json`. Every sample has the same members in the same order; a
missing modality is an array with no numbers, and `present` in the JSON says so.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from mmpipe.export.sample import Joined, Shape, WrittenFile, empty_value, meta_of
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
                    for member, data in _members(sample, shape):
                        _add(tar, f"{sample.key}.{member}", data)
            files.append(WrittenFile(name=name, clips=len(batch)))
        return files

    def how_to_read(self, shape: Shape, files: Mapping[str, list[WrittenFile]]) -> str:
        """Return a program for webdataset."""
        split, found = next(iter(files.items()))
        last = len(found) - 1
        braces = f"{{000000..{last:06d}}}" if last else "000000"
        fields = "\n".join(
            f'    x = sample["{schema.feature}.npy"]  # {_axes(schema.dim)}' for schema in shape.features
        )
        return (
            "import webdataset as wds\n\n"
            f'samples = wds.WebDataset("{split}-{braces}.tar", shardshuffle=False).decode()\n'
            f'for sample in samples:\n    clip = sample["json"]\n{fields}'
        )


def _axes(dim: int) -> str:
    return f"[T, {dim}] or [{dim}]; no numbers where the clip lacks it"


def _members(sample: Joined, shape: Shape) -> Iterator[tuple[str, bytes]]:
    for schema in shape.features:
        value = sample.values[schema.feature]
        yield f"{schema.feature}.npy", _npy(empty_value(schema) if value is None else value)
        if schema in shape.sequences:
            times_ns = sample.times_ns.get(schema.feature)
            yield f"{schema.feature}.times.npy", _npy(np.empty(0, np.int64) if times_ns is None else times_ns)
    yield "json", canonical_json(meta_of(sample, shape))


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # time 0, owner 0
    member.size = len(data)
    member.mode = 0o644
    tar.addfile(member, io.BytesIO(data))
