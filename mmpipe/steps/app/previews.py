"""Previews of clips, made on demand by workers and kept for as long as the app runs, up to a bound."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from mmpipe.app.site import BusyError
from mmpipe.app.values.clips import PreviewKind
from mmpipe.config import Config
from mmpipe.engine.engine import Engine
from mmpipe.engine.work import WorkItem
from mmpipe.errors import SampleError, TransientError
from mmpipe.remote import cache_root
from mmpipe.steps.ground.wire import decode
from mmpipe.steps.workers.shower import Showing, Shown, ShowWork
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.types import Clip, Stream

FUNCTION = "mmpipe.steps.workers.shower:show_clips"
MOST_BYTES = 1 << 30
_WORKERS = 2  # whoever looks must not take the machine from who works
MOST_WAITING = 32  # previews that are asked for at once; each holds one thread of the app
_IN_USE_S = 60.0  # a file that a player may still be reading stays
_PREFIX = "previews-"
_STILLS = (PreviewKind.STILL, PreviewKind.SPECTRUM)


class PreviewShelf:
    """A folder of previews that lives as long as the app; what was not asked for longest goes first.

    It ends with the app, and is emptied when somebody looks after something was forgotten. Each emptying begins an
    epoch: what somebody asked for before it is not put after it.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, most_waiting: int = MOST_WAITING) -> None:
        self._most_bytes = most_bytes
        self._most_waiting = most_waiting
        self._folder: Path | None = None
        self._making: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._marks: dict[str, object] = {}
        self._epoch = 0

    @property
    def corpora(self) -> tuple[str, ...]:
        """Return the corpora of which a preview was asked for."""
        with self._lock:
            return tuple(self._marks)

    def get(self, name: str, make: Callable[[], bytes], epoch: int = 0) -> Path:
        """Return the file of a name; it is made once, whoever asks at the same time.

        BusyError: too many are made, or the shelf was emptied since the epoch in which it was asked for.
        """
        with self._lock:
            self._require_epoch(epoch)
            path = self._place(name)
            if path.exists():
                os.utime(path)
                return path
            making = self._making.get(name)
            if making is None:
                if len(self._making) >= self._most_waiting:
                    raise BusyError("Many previews are being made at once. This one is made when you ask again.")
                making = self._making[name] = threading.Lock()
        try:
            with making:
                if not path.exists():
                    self._put(path, make(), epoch)
                return path
        finally:
            with self._lock:
                self._making.pop(name, None)

    def empty_on_change(self, corpus: str, mark: object) -> int:
        """Remove all when what was forgotten of a corpus is not what it was; return the epoch."""
        with self._lock:
            if self._marks.setdefault(corpus, mark) != mark:
                self._marks[corpus] = mark
                self._epoch += 1
                for path in self._files():
                    path.unlink(missing_ok=True)
            return self._epoch

    def close(self) -> None:
        """Remove the folder."""
        with self._lock:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None

    def _place(self, name: str) -> Path:
        if self._folder is None:
            root = cache_root() / "app"
            root.mkdir(parents=True, exist_ok=True)
            _sweep(root)
            self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=root))
        return self._folder / name

    def _put(self, path: Path, data: bytes, epoch: int) -> None:
        with self._lock:  # one write of a few megabytes, and no emptying in between
            self._require_epoch(epoch)
            temporary = path.with_suffix(".part")
            temporary.write_bytes(data)
            os.replace(temporary, path)
            self._shrink(keep=path)

    def _require_epoch(self, epoch: int) -> None:
        if self._epoch != epoch:
            raise BusyError("Something was forgotten while this preview was made. Ask again for what is still there.")

    def _shrink(self, keep: Path) -> None:
        found = []
        for path in self._files():
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        total, now_s = sum(size for _, size, _ in found), time.time()
        for used_s, size, path in sorted(found):
            if total <= self._most_bytes:
                return
            if path != keep and (now_s - used_s > _IN_USE_S or total > 2 * self._most_bytes):
                path.unlink(missing_ok=True)
                total -= size

    def _files(self) -> list[Path]:
        return list(self._folder.iterdir()) if self._folder is not None else []


class PreviewMaker:
    """Has previews made by workers of this machine, which start with the first one; a context manager."""

    def __init__(self, shelf: PreviewShelf | None = None) -> None:
        self._shelf = shelf or PreviewShelf()
        self._stack = ExitStack()
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(_WORKERS)

    @property
    def shelf(self) -> PreviewShelf:
        """Return where previews are kept."""
        return self._shelf

    def make(
        self, config: Config, corpus: str, root: Path, clip: Clip, stream: Stream, kind: PreviewKind, epoch: int
    ) -> Path:
        """Return the file of a preview. SampleError: the clip cannot be shown; BusyError as of the shelf."""
        showing = Showing.STILL if kind in _STILLS else Showing.CUT
        work = ShowWork(root=root, clips=((clip, stream),), showing=showing, limits=config.corpora[corpus].limits)
        told = f"{corpus}\n{stream.file_sha256}\n{stream.track}\n{clip.start_ns}\n{clip.end_ns}\n{kind}"
        name = hashlib.sha256(told.encode()).hexdigest()
        return self._shelf.get(name, lambda: self._run(config, work), epoch)

    def _run(self, config: Config, work: ShowWork) -> bytes:
        ((clip, stream),) = work.clips
        item = WorkItem(name=clip.key, payload=work, timeout_s=work.limits.seconds_per_asset)
        with self._turns:
            (outcome,) = self._started(config).run(FUNCTION, [item])
        if outcome.result is None:
            why = outcome.failure.detail if outcome.failure else "no answer"
            raise TransientError(f"the preview could not be made: {why}")
        shown = decode(tuple[Shown, ...], outcome.result)
        if not shown:
            raise SampleError(
                "no_preview",
                f"{stream.file!r} cannot be shown now: it is gone from the corpus's folder, it is not the file any "
                "more that the clip was cut from, or this part of it is broken. `mmpipe probe` says what it is.",
            )
        return base64.b64decode(shown[0].data_base64)

    def _started(self, config: Config) -> Engine:
        with self._lock:
            if self._engine is None:
                local = config.engine.model_copy(update={"kind": "local", "workers": _WORKERS})
                self._engine = self._stack.enter_context(shared_engine(config.model_copy(update={"engine": local})))
            return self._engine

    def __enter__(self) -> Self:
        """Return it; nothing is started yet."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the workers, and remove the previews."""
        self._stack.close()
        self._shelf.close()


def _sweep(root: Path) -> None:
    """Remove the folders of apps that were killed."""
    for folder in root.glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
