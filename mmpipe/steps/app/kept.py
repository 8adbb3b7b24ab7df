"""Values made from the heads of a corpus, kept until a head changes."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from mmpipe.errors import TransientError
from mmpipe.io import list_names
from mmpipe.remote import RemotePath
from mmpipe.store.layout import StoreLayout

_Value = TypeVar("_Value")
LOOK_EVERY_S = 1.0  # of a store on this machine: what is asked in between sees the same state
LOOK_FAR_EVERY_S = 30.0
OLDEST_S = 60.0  # ages and who is at work change without a head
MOST_KEPT = 32
_SHARE = 4  # times what reading took: so long it is not read anew, while a run commits all the time


@dataclass(frozen=True, slots=True)
class _Entry:
    mark: Hashable
    made_s: float  # when
    took_s: float
    value: Any

    def is_good(self, mark: Hashable, now_s: float) -> bool:
        """Say whether the value may be shown."""
        age_s = now_s - self.made_s
        return age_s < OLDEST_S and (self.mark == mark or age_s < _SHARE * self.took_s)


class KeptValues:
    """Makes each value once per change of heads, whoever asks at the same time."""

    def __init__(
        self, layout: Callable[[], StoreLayout], clock: Callable[[], float] = time.monotonic, look_every_s: float = -1
    ) -> None:
        self._layout = layout
        self._clock = clock
        self._look_every_s = look_every_s
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._marks: dict[str, tuple[float, Hashable]] = {}
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, corpus: str, what: Hashable, make: Callable[[], _Value]) -> _Value:
        """Return a value of a corpus; a store that was written while it was read is read once more."""
        key = (corpus, what)
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        try:
            with making:
                mark = self._mark(corpus)
                entry = self._entries.get(key)
                began_s = self._clock()
                if entry and entry.is_good(mark, began_s):
                    found: _Value = entry.value
                    return found
                value = _made(make)
                now_s = self._clock()
                self._keep(key, _Entry(mark, now_s, now_s - began_s, value))
                return value
        finally:
            with self._lock:
                self._making.pop(key, None)

    def _keep(self, key: Hashable, entry: _Entry) -> None:
        with self._lock:
            self._entries[key] = entry
            self._entries.move_to_end(key)
            while len(self._entries) > MOST_KEPT:
                self._entries.popitem(last=False)

    def _mark(self, corpus: str) -> Hashable:
        """Return what differs as soon as a head of the corpus, or who works on it, differs."""
        layout, now_s = self._layout(), self._clock()
        is_far = isinstance(layout.root, RemotePath)
        every_s = self._look_every_s if self._look_every_s >= 0 else LOOK_FAR_EVERY_S if is_far else LOOK_EVERY_S
        looked_s, mark = self._marks.get(corpus, (0.0, None))
        if mark is None or now_s - looked_s >= every_s:
            # Each look at a far store counts as a change: to list all of its heads costs as much as to read them.
            mark = (now_s,) if is_far else _mark_of(layout, corpus)
            self._marks[corpus] = (now_s, mark)
        return mark


def _made(make: Callable[[], _Value]) -> _Value:
    try:
        return make()
    except TransientError:
        return make()


def _mark_of(layout: StoreLayout, corpus: str) -> Hashable:
    """Return the time stamps of all folders of manifests, and the claims: a new manifest changes its folder's."""
    folders: list[tuple[str, str, int]] = []
    for name in layout.dataset_names(corpus):
        with suppress(FileNotFoundError):
            for entry in os.scandir(layout.dataset(corpus, name).root / "_meta"):
                with suppress(FileNotFoundError):
                    folders.append((name, entry.name, entry.stat().st_mtime_ns))
    claims = [name for name in list_names(layout.leases) if name.endswith(".claim")] if layout.leases.is_dir() else []
    return hash((tuple(sorted(folders)), tuple(sorted(claims))))
