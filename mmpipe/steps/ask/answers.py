"""What a model says of a clip, and what it could not be asked about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmpipe.types import Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model says of one clip of a file."""

    source: str
    key: str
    start_s: float
    end_s: float
    said: Mapping[str, object]  # of classes: label, probability, probabilities

    def as_json(self) -> dict[str, object]:
        """Return it as plain values, what is said beside what it is about."""
        return {"source": self.source, "key": self.key, "start_s": self.start_s, "end_s": self.end_s, **self.said}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """A file, a clip or an input of it that the model could not be asked about."""

    source: str
    code: str
    detail: str
    key: str = ""  # of the clip, where it is about one
    feature: str = ""  # that is missing, where the clip may be answered from others

    @classmethod
    def of(cls, drop: Drop) -> Unanswered:
        """Return what is said of a drop."""
        return cls(
            source=drop.file or drop.source_id,
            code=drop.code,
            detail=drop.detail,
            key=drop.clip_key,
            feature=drop.feature,
        )

    def as_json(self) -> dict[str, str]:
        """Return it as plain values."""
        told = {"source": self.source, "key": self.key, "feature": self.feature}
        return {name: value for name, value in told.items() if value} | {"code": self.code, "detail": self.detail}
