"""A folder that `datasets.load_dataset` opens by its card: Parquet per split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mmpipe.export.parquet import ParquetFormat
from mmpipe.export.sample import Shape, WrittenFile


class HuggingFaceFormat(ParquetFormat):
    """Parquet, with a card whose front matter names the splits."""

    def how_to_read(self, shape: Shape, files: Mapping[str, list[WrittenFile]]) -> str:
        """Return a program for datasets."""
        return (
            "from pathlib import Path\nfrom datasets import load_dataset\n\n"
            f'clips = load_dataset(str(Path.cwd()), split="{hub_split(next(iter(files)))}").with_format("arrow")'
        )


def front_matter(splits: Iterable[str]) -> str:
    """Return the head of a card that makes `load_dataset` find the splits."""
    rows = "".join(f"  - split: {hub_split(split)}\n    path: data/{split}-*.parquet\n" for split in splits)
    return f"---\nconfigs:\n- config_name: default\n  data_files:\n{rows}---\n\n"


def hub_split(split: str) -> str:
    """Return a split under the name that is usual on the hub."""
    return "validation" if split == "val" else split
