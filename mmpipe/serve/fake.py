"""A small real predictor without media or weights: it tells how long an upload is, and which letters a key has."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from mmpipe.errors import SampleError, TransientError
from mmpipe.serve.predictor import Lost, NotFound, Question, Said, Upload

CORPUS = "talks"
NO_MEDIA = b"#EXTM3U"  # an upload that begins so is refused, as a playlist is


class FakePredictor:
    """Answers from sizes and names alone; `gate` holds readings up, `calls` tells what was asked together."""

    def __init__(self, version: str = "1-fake", keys: Sequence[str] = ("a" * 24,)) -> None:
        self.model, self.version = "fake", version
        self.gate = threading.Event()
        self.gate.set()
        self.calls: list[int] = []
        self.is_warm = self.is_closed = self.is_cancelled = self.is_beside = False
        self._keys = frozenset(keys)

    def warm_up(self, beside_another: bool = False) -> None:
        """Be warm."""
        self.is_warm, self.is_beside = True, beside_another

    def read(self, upload: Upload) -> Question:
        """Return the size of every file of an upload."""
        deadline_s = time.monotonic() + upload.timeout_s
        while not self.gate.wait(0.01):
            if time.monotonic() > deadline_s:
                raise TimeoutError
            if self.is_cancelled:
                raise TransientError("the run was cancelled")
        lost = [
            Lost(source=file.path.name, code="format_not_allowed", detail="a playlist, which may name other files")
            for file in upload.files
            if file.path.read_bytes().startswith(NO_MEDIA)
        ]
        sizes = {file.role: file.nbytes for file in upload.files}
        if not any(sizes.values()):
            raise SampleError("empty_file", "0 bytes")
        return Question(body=sizes, clips=len(sizes) - len(lost), lost=tuple(lost))

    def find(self, key: str, corpus: str | None) -> Question:
        """Return the letters of a key that it knows."""
        if corpus not in (None, CORPUS) or key not in self._keys:
            raise NotFound(f"{corpus or CORPUS!r} has no clip {key!r}")
        return Question(body={"key": len(set(key))}, clips=1)

    def answer(self, questions: Sequence[Question]) -> Sequence[Said]:
        """Return a row per clip."""
        self.calls.append(len(questions))
        return [self._said(question) for question in questions]

    def cancel(self) -> None:
        """Let what is being read end."""
        self.is_cancelled = True

    def close(self) -> None:
        """Be closed."""
        self.is_closed = True

    def _said(self, question: Question) -> Said:
        assert isinstance(question.body, dict), "it was read here"
        row = {"key": "a" * 24, "start_s": 0.0, "end_s": 1.0, **question.body}
        return Said(clips=(row,))
