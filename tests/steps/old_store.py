"""A store that an older mmpipe wrote, as it lies in the fixtures, and ways to look at it."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import mmpipe
from mmpipe.config import Config, load_config
from mmpipe.store.layout import StoreLayout

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "store-v1.tar.gz"  # of layout 1, with its raw files and config
CORPUS, MODEL = "talk", "who"
DAYS = ("2026-11-20", "2026-11-21")
SOUND, TEXT = "audio-mfccseg@1", "text-ngrams@1"
SNAPSHOT = "1795059aad39890b0894c645"
NOT_CONTENT = ("_staging", "_runs", "_leases", "_audit")  # the audit log has clock times


def unpack(folder: Path) -> Config:
    """Lay the old store out in a folder and return its config."""
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(folder, filter="data")
    return load_config(folder / "store-v1" / "mmpipe.toml")


def content(config: Config) -> dict[str, bytes]:
    """Return the bytes of every file of the store that is content; what a kill leaves in a folder begins with a dot."""
    root = StoreLayout(config.store).root
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] not in NOT_CONTENT and path.name[0] != "."
    }


def values(config: Config, **choices: Any) -> list[tuple[Any, ...]]:
    """Return every clip's key and values, in the reader's order."""
    reader = mmpipe.open(config.store / CORPUS, [SOUND, TEXT], **choices)
    samples = [reader[row] for row in range(len(reader))]
    return [(sample.key, *(_bytes(sample.values[name]) for name in (SOUND, TEXT))) for sample in samples]


def _bytes(value: Any) -> bytes:
    return b"" if value is None else value.array.tobytes()
