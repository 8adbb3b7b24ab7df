"""One clip of a growing shard: where its value lies until its turn comes, or why it has none."""

from __future__ import annotations

from dataclasses import dataclass

from mmpipe.media.facts import stream_facts
from mmpipe.steps.extract.spool import SpooledValue
from mmpipe.steps.plan.shard_work import AssetWork, ClipWork, ReusedValue
from mmpipe.types import Drop, Stream

Place = tuple[str, int, int]  # digest of a stream, and the range in it: equal places have equal values


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRow:
    """A clip that has a value, and where it is: exactly one of the last two is set."""

    clip: ClipWork
    stream: str
    reused: ReusedValue | None = None
    spooled: SpooledValue | None = None

    @property
    def place(self) -> tuple[str, int, str, int, int]:
        """Return what a shard's row says of its clip: key, ordinal, stream, start and end."""
        clip = self.clip.clip
        return clip.key, self.clip.ordinal, self.stream, clip.start_ns, clip.end_ns


def place_of(stream: Stream, clip: ClipWork) -> Place:
    """Return what decides a clip's value beside the feature."""
    return stream.digest, clip.clip.start_ns, clip.clip.end_ns


def make_drop(
    asset: AssetWork,
    stream: Stream | None,
    clip: ClipWork,
    feature: str,
    code: str,
    detail: str,
    *,
    kept: bool = False,
) -> Drop:
    """Return the row of quarantine of a clip, or with `kept` a note on one that is in use."""
    return Drop(
        stage="extract",
        code=code,
        detail=detail,
        file=stream.file if stream else "",
        file_sha256=stream.file_sha256 if stream else "",
        source_id=asset.source_id,
        asset_id=asset.asset_id,
        clip_key=clip.clip.key,
        feature=feature,
        facts=stream_facts(stream),
        kept=kept,
    )
