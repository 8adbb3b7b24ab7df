"""What every node of a cluster must reach just as this machine does: the store, and the folders of raw media."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.io import make_directory
from mmpipe.steps.ground.mirror import is_mirrored
from mmpipe.steps.ground.wire import decode, encode
from mmpipe.store.layout import StoreLayout, create_store

_MOST_NAMES = 3  # of a media folder: the first that a listing gives, however many there are


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFile:
    """A file or folder below a folder of raw media."""

    path: str
    nbytes: int  # -1: a folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Landmarks:
    """What a node must find."""

    store: str  # a folder or a URL
    format_sha256: str  # of the store's format.json
    probe: str  # a file on a folder that all share
    token: str  # what the file holds
    media: tuple[SeenFile, ...]


class StoreReach:
    """Leaves a probe in the store's folder of unfinished work, for nodes to find; the engine's node check."""

    function = "mmpipe.steps.workers.reach:require_landmarks"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._probe: Path | None = None

    def prepare(self) -> bytes:
        """Write the probe; return what a node needs to find it."""
        layout = create_store(self._config.store)
        token = uuid.uuid4().hex
        self._probe = make_directory(layout.staging).absolute() / f"probe-{token}"
        self._probe.write_text(token)
        landmarks = Landmarks(
            store=str(layout.root.absolute()),
            format_sha256=_format_digest(layout),
            probe=str(self._probe),
            token=token,
            media=tuple(self._media()),
        )
        return encode(Landmarks, landmarks)

    def clear(self) -> None:
        """Remove the probe."""
        if self._probe is not None:
            self._probe.unlink(missing_ok=True)

    def _media(self) -> Iterator[SeenFile]:
        for corpus in self._config.corpora.values():
            folder = corpus.root.absolute()  # a mirror lies beside the probe
            if not is_mirrored(corpus) and folder.is_dir():
                with os.scandir(folder) as entries:
                    for entry in islice(entries, _MOST_NAMES):
                        with suppress(FileNotFoundError):  # somebody tidies up
                            yield SeenFile(path=entry.path, nbytes=_size(Path(entry.path)))


def require_landmarks(payload: bytes) -> None:
    """Raise ConfigError where this node does not see the very store and media that the driver sees."""
    landmarks = decode(Landmarks, payload)
    probe = Path(landmarks.probe)
    try:
        found = probe.read_text()
    except OSError as error:
        raise ConfigError(
            f"it does not reach {probe.parent}, where unfinished work of the store {landmarks.store} lies "
            f"({type(error).__name__}). {_way_out(landmarks.store)}"
        ) from error
    if found != landmarks.token:
        raise ConfigError(f"{probe.parent} is another folder there. {_way_out(landmarks.store)}")
    if not os.access(probe.parent, os.W_OK):
        raise ConfigError(f"it may not write to {probe.parent}. Mount it writable there, for user {os.getuid()}")
    is_remote = "://" in landmarks.store  # then the driver alone speaks to it, and a node needs no keys for that
    if not is_remote and _format_digest(StoreLayout(Path(landmarks.store))) != landmarks.format_sha256:
        raise ConfigError(f"the store at {landmarks.store} is another one there. {_way_out(landmarks.store)}")
    for seen in landmarks.media:
        with suppress(FileNotFoundError):
            if _size(Path(seen.path)) == seen.nbytes:
                continue
        raise ConfigError(f"raw media are missing or others there: {seen.path}. Mount their folder on every node")


def _way_out(store: str) -> str:
    if "://" in store:
        return "Let MMPIPE_CACHE name one folder that all nodes share: workers have no network, and write there"
    return "Put the store on a folder that all nodes mount at the same place, or at s3://"


def _format_digest(layout: StoreLayout) -> str:
    try:
        return hashlib.sha256(layout.format_file.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"it does not reach the store at {layout.root}: {type(error).__name__}: {error}") from error


def _size(path: Path) -> int:
    """Return a file's bytes, -1 for a folder. Raise FileNotFoundError."""
    return -1 if path.is_dir() else path.stat().st_size
