"""A folder that `datasets.load_dataset` opens by its card: Parquet per split."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from mmpipe.export.parquet import ParquetFormat
from mmpipe.export.sample import Shape, WrittenFile

_CREATIVE_COMMONS = tuple(
    f"cc-{terms}-{number}"
    for terms in ("by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd")
    for number in ("2.0", "2.5", "3.0", "4.0")
)
_HUB = frozenset({*_CREATIVE_COMMONS, "apache-2.0", "bsd-3-clause", "cc0-1.0", "gpl-3.0", "mit", "odc-by", "pddl"})


class HuggingFaceFormat(ParquetFormat):
    """Parquet, with a card whose front matter names the splits."""

    def how_to_read(self, shape: Shape, files: Mapping[str, list[WrittenFile]]) -> str:
        """Return a program for datasets."""
        return (
            "from pathlib import Path\nfrom datasets import load_dataset\n\n"
            f'clips = load_dataset(str(Path.cwd()), split="{hub_split(next(iter(files)))}").with_format("arrow")'
        )


def front_matter(splits: Iterable[str], licence: str = "") -> str:
    """Return the head of a card that makes `load_dataset` find the splits; `licence` is that of every clip."""
    rows = "".join(f"  - split: {hub_split(split)}\n    path: data/{split}-*.parquet\n" for split in splits)
    return f"---\n{_licence(licence)}configs:\n- config_name: default\n  data_files:\n{rows}---\n\n"


def _licence(licence: str) -> str:
    """Return the licence as the hub knows it: by its own identifier, or as another one with a name."""
    if not licence:
        return ""
    known = licence.lower()
    return f"license: {known}\n" if known in _HUB else f"license: other\nlicense_name: {json.dumps(licence)}\n"


def hub_split(split: str) -> str:
    """Return a split under the name that is usual on the hub."""
    return "validation" if split == "val" else split
