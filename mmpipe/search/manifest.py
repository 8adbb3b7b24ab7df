"""What an index is of, and what it was made from: the manifest that its folder is named after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from mmpipe.errors import StoreError
from mmpipe.io import canonical_json
from mmpipe.types import digest_of

FORMAT = 1
MANIFEST_NAME = "manifest.json"
WAY_OUT = "It can be made again: remove its folder, and the next `mmpipe search` does"
_DIGEST_LENGTH = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The clips of one shard of the spine, in their order."""

    partition: str
    shard: int
    rows: int  # clips that have a vector
    inputs: str  # digest of what their vectors were made from


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexIdentity:
    """All that decides the vectors of an index."""

    corpus: str
    model: str  # NAME@LABEL, to be read
    release: str  # digest of the release
    view: str  # what of a clip was embedded: "query", "item", or one feature
    dim: int
    parts: tuple[tuple[str, int, str], ...]  # (partition, shard, inputs) of every shard of the spine

    @property
    def digest(self) -> str:
        """Return the characters that name its folder."""
        parts = [str(value) for part in self.parts for value in part]
        return digest_of("index", FORMAT, self.corpus, self.release, self.view, self.dim, *parts)[:_DIGEST_LENGTH]

    def is_of(self, other: IndexIdentity) -> bool:
        """Say whether both are of one view of one corpus by one release, at whatever time."""
        return (self.corpus, self.release, self.view) == (other.corpus, other.release, other.view)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexManifest:
    """What an index holds, and from what it was made."""

    format: int
    corpus: str
    model: str
    release: str
    view: str
    dim: int
    parts: tuple[Part, ...]
    sha256: Mapping[str, str]  # of its files

    @property
    def identity(self) -> IndexIdentity:
        """Return what decided the vectors."""
        return IndexIdentity(
            corpus=self.corpus,
            model=self.model,
            release=self.release,
            view=self.view,
            dim=self.dim,
            parts=tuple((part.partition, part.shard, part.inputs) for part in self.parts),
        )

    @property
    def rows(self) -> int:
        """Return how many clips it has."""
        return sum(part.rows for part in self.parts)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest of an index; raise StoreError where it is not whole."""
        path = folder / MANIFEST_NAME
        try:
            data = path.read_bytes()
            table = json.loads(data)
            made = cls(**{**table, "parts": tuple(Part(**part) for part in table["parts"])})
            if made.format != FORMAT or canonical_json(asdict(made)) != data:
                raise ValueError(f"it is not in the form of format {FORMAT}")
            if made.identity.digest != folder.name:
                raise ValueError(f"its digest is {made.identity.digest}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is damaged: {error}. {WAY_OUT}.") from error
        return made


def keys_digest(keys: Sequence[str]) -> str:
    """Return a digest over the keys of clips in their order."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()
