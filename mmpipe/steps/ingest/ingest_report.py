"""What became of a corpus's files in one ingest, as a table and as a few lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmpipe.sources.listing import Filtered, FilterReason
from mmpipe.steps.ground.markdown import inert
from mmpipe.steps.ingest.partition_draft import PartitionCount
from mmpipe.steps.ingest.vanished import ALL_THERE, Vanished
from mmpipe.words import counted

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst")


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What became of a corpus's files."""

    corpus: str
    partitions: tuple[PartitionCount, ...]
    unmatched_labels: tuple[str, ...]  # keys of the labels table that name no asset
    probed: int  # files opened in this run; the others were known
    seconds: float
    vanished: Vanished = ALL_THERE
    unusable_labels: int = 0  # rows of the labels table, or assets, whose labels are in quarantine
    left_out: tuple[Filtered, ...] = ()  # files that were never meant to be data, by rule

    @property
    def quarantined_share(self) -> float:
        """Return the share of files that could not be used."""
        files = sum(count.files for count in self.partitions)
        return sum(count.quarantined for count in self.partitions) / files if files else 0.0

    def summary(self) -> str:
        """Return a few lines of Markdown."""
        files, used, clips = (
            sum(getattr(count, name) for count in self.partitions) for name in ("files", "used", "clips")
        )
        first = (
            f"`{self.corpus}`: {counted(files, 'file')}, {used} used, {counted(clips, 'clip')}, {self.probed} probed, "
            f"{self.seconds:.1f} s"
        )
        return "\n\n".join((first, *map(inert, self.notes())))

    def notes(self) -> Iterator[str]:
        """Yield what a person should know beside the counts, a line each."""
        if number := sum(count.clipless for count in self.partitions):
            yield f"{counted(number, 'asset', 'have', 'has')} no clip: mmpipe quarantine ls"
        beside = [entry.name for entry in self.left_out if entry.reason is FilterReason.PATTERN]
        yield from self._told_vanished()
        if missed := [name for name in beside if name.lower().endswith(_ARCHIVES)]:
            said = counted(len(missed), "archive", "do not fit", "does not fit")
            yield f"{said} source.pattern, such as {missed[0]!r}: correct the pattern to take them in"
        if keys := self.unmatched_labels:
            labels = counted(len(keys), "label", "name", "names")
            yield f"{labels} no file, such as {', '.join(map(repr, keys[:3]))}"
        if self.unusable_labels:
            yield f"{counted(self.unusable_labels, 'fault')} in the labels: mmpipe quarantine ls"

    def _told_vanished(self) -> Iterator[str]:
        """Yield what became of recordings whose files are gone."""
        files, given_up = self.vanished.files, frozenset[str]().union(*self.vanished.retired.values())
        if not files:
            return
        told = f"{counted(len(files), 'file', 'are', 'is')} gone after the intake, such as"
        yield f"{told} {', '.join(map(repr, files[:3]))}: what was made of them stays"
        if given_up:
            yield (
                f"{counted(len(given_up), 'recording', 'are', 'is')} superseded: the file was gone before all its "
                "clips were made. Put it back and ingest again to have it back"
            )
        if self.vanished.is_withheld:
            yield (
                "more is gone than is there, so nothing is superseded, though clips failed for it: see that the "
                "corpus's root is the folder it was (is the disk mounted?)"
            )

    def table(self) -> list[dict[str, Any]]:
        """Return one row per partition."""
        return [count.row() for count in self.partitions]
