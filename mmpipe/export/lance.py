"""Joined samples as a Lance dataset: random access by row, for tools that have pylance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from mmpipe.errors import ConfigError
from mmpipe.export.parquet import arrow_schema, row_columns, to_table
from mmpipe.export.sample import Column, Joined, Shape, WrittenFile


class LanceFormat:
    """Write one dataset per split; Lance names its files by chance, so two exports differ in bytes, not in rows."""

    def __init__(self) -> None:
        """Refuse to begin without pylance."""
        try:
            import lance
        except ModuleNotFoundError as error:
            raise ConfigError("an export to lance needs pylance. Run: pip install 'mmpipe[lance]'") from error
        self._lance = lance

    def write_split(self, folder: Path, split: str, batches: Iterator[list[Joined]], shape: Shape) -> list[WrittenFile]:
        """Write `SPLIT.lance`."""
        name, clips = f"{split}.lance", 0

        def record_batches() -> Iterator[pa.RecordBatch]:
            nonlocal clips
            for batch in batches:
                clips += len(batch)
                yield from to_table(batch, shape).to_batches()

        schema = arrow_schema(shape)
        reader = pa.RecordBatchReader.from_batches(schema, record_batches())
        self._lance.write_dataset(reader, str(folder / name), schema=schema)
        return [WrittenFile(name=name, clips=clips)]

    def how_to_read(self, shape: Shape, files: Mapping[str, list[WrittenFile]]) -> str:
        """Return a program for pylance."""
        return f'import lance\n\nclips = lance.dataset("{next(iter(files))}.lance").take([0]).to_pylist()'

    def columns(self, shape: Shape) -> list[Column]:
        """Return the columns of a row."""
        return row_columns(shape)
