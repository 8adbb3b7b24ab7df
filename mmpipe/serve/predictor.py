"""The door of the room: what answers questions, and the plain values that go through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mmpipe.errors import MmpipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedFile:
    """One file of an asset, under a name that we gave it."""

    role: str  # as the sender says: video, audio, image or text
    path: Path
    nbytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """The files of one asset, alone in a folder that goes with the answer."""

    folder: Path
    files: tuple[UploadedFile, ...]
    timeout_s: float  # that is left for reading it


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Why a file, a clip or an input of it has no answer."""

    source: str
    code: str
    detail: str
    key: str = ""
    feature: str = ""

    def as_json(self) -> dict[str, str]:
        """Return it as plain values, without what is empty."""
        told = {"source": self.source, "key": self.key, "feature": self.feature, "code": self.code}
        return {name: value for name, value in told.items() if value} | {"detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What was read of an upload, or found in the store: ready for the network."""

    body: object  # the predictor's own
    clips: int
    lost: tuple[Lost, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is said about one question: a row per clip."""

    clips: tuple[Mapping[str, object], ...]
    lost: tuple[Lost, ...] = ()


class NotFound(MmpipeError):
    """There is no such clip or corpus."""


class Predictor(Protocol):
    """One version of a model, loaded. All may be called from several threads, but `answer`, one call at a time."""

    @property
    def model(self) -> str:
        """Return the model's name."""

    @property
    def version(self) -> str:
        """Return the version's label."""

    def warm_up(self, beside_another: bool = False) -> None:
        """Load and start what the first question would wait for; beside another version it leaves that one room."""

    def read(self, upload: Upload) -> Question:
        """Read raw files where they can do no harm. Raise TimeoutError, SampleError or TransientError."""

    def find(self, key: str, corpus: str | None) -> Question:
        """Find a clip in the store. Raise NotFound."""

    def answer(self, questions: Sequence[Question]) -> Sequence[Said]:
        """Answer several questions by one call of the network, in their order."""

    def cancel(self) -> None:
        """End at once what is being read, which raises; the end of the whole server only."""

    def close(self) -> None:
        """Let go of what was loaded; nobody asks any more."""
