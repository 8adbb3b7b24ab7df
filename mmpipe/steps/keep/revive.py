"""Make the manifest of a lost revision again from what it left: the files of its view, the spine, the card.

It is made only where something proves that it comes out as it was: a snapshot's digest, or every figure of the card.
Of a table the view alone is enough, but not of the spine: how many files an ingest counted stands nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mmpipe.errors import MmpipeError, StoreError
from mmpipe.io import StorePath, local_file, sha256_file
from mmpipe.steps.keep.restore import Step, set_aside
from mmpipe.steps.plan.inputs import STREAM_COLUMNS, inputs_digest, note_inputs, superseded_in
from mmpipe.store.audit import append_event
from mmpipe.store.commit import commit_partition
from mmpipe.store.finding import RESTORE_REVISION, Finding
from mmpipe.store.history import history_of
from mmpipe.store.layout import CLIPS, DatasetLayout, StoreLayout
from mmpipe.store.lostrevision import LostRevisions, find_lost_again, shown_files
from mmpipe.store.manifest import FileEntry, Manifest, ShardEntry
from mmpipe.store.parquet import METADATA_KEY
from mmpipe.store.reader import ShardReader
from mmpipe.store.revisions import read_head
from mmpipe.store.schema import read_schema
from mmpipe.store.spine import SPINE, identity_digest, read_spine
from mmpipe.store.table import read_shard_table
from mmpipe.store.verifyshard import count_values

GIVEN_UP = "given up"
_UNPROVEN = "what is left does not prove how it was"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A shard as the view shows it, and what its file says of itself."""

    number: int
    files: tuple[FileEntry, ...]
    samples: int
    fingerprint: str
    schema: str


def revive_revisions(layout: StoreLayout, findings: Iterable[Finding], dry_run: bool, accept_loss: bool) -> list[Step]:
    """Make lost revisions again; with `accept_loss` give up those that cannot be made, and say so in the audit log."""
    steps = []
    for corpus, name, partition in sorted({place for finding in findings if (place := place_of(finding))}):
        dataset = layout.dataset(corpus, name)
        lost = find_lost_again(layout, dataset, partition)
        if lost is None:
            continue
        path = f"{corpus}/{name} dt={partition}"
        why = _revive_head(layout, dataset, partition, lost, dry_run)
        if not why:
            how = "exactly as it was" if dataset.is_feature or lost.pin else "as its view shows it"
            steps.append(Step(action="made", path=path, detail=f"revision {lost.numbers[-1]}, {how}"))
        elif accept_loss:
            if not dry_run:
                _give_up(layout, dataset, partition, lost)
            steps.append(Step(action=GIVEN_UP, path=path, detail=f"revision {lost.numbers[-1]}: {why}"))
        else:
            detail = f"revision {lost.numbers[-1]}: {why}; its view stays as it is. {RESTORE_REVISION}"
            steps.append(Step(action="left", path=path, detail=detail))
    return steps


def place_of(finding: Finding) -> tuple[str, str, str] | None:
    """Return (corpus, dataset, partition) where a finding is about a newest manifest that may be gone."""
    parts = finding.path.split("/")
    if finding.code not in ("manifest_missing", "manifest_damaged") or len(parts) != 5:
        return None
    return parts[0], parts[1], parts[3].removeprefix("dt=")


def _give_up(layout: StoreLayout, dataset: DatasetLayout, partition: str, lost: LostRevisions) -> None:
    """Make the revision before the head for good: what the view shows beyond it goes aside."""
    facts = {"revisions": list(lost.numbers), "evidence": lost.evidence}
    append_event(layout, "accept-loss", f"{dataset.corpus}/{dataset.name} dt={partition}", "asked for by hand", facts)
    for path in lost.shown:
        set_aside(layout, path)


def _revive_head(
    layout: StoreLayout, dataset: DatasetLayout, partition: str, lost: LostRevisions, dry_run: bool
) -> str:
    """Commit the revision that was lost, exactly as it was; return why that cannot be, "" where it was done."""
    if len(lost.numbers) > 1:
        return f"{len(lost.numbers)} revisions in a row are gone, and the view shows only the last"
    try:
        head = read_head(dataset, partition)
        made = next(
            (made for made in _candidates(layout, dataset, partition, head) if _is_proven(dataset, made, lost)), None
        )
        if made is None:
            return _UNPROVEN
        if not dry_run:
            _commit(dataset, made)
    except (MmpipeError, pa.ArrowException, OSError, ValueError, KeyError) as error:
        return str(error).splitlines()[0]
    return ""


def _candidates(
    layout: StoreLayout, dataset: DatasetLayout, partition: str, head: Manifest | None
) -> Iterator[Manifest]:
    """Yield what the lost manifest may have been: shards that the head has, too, kept as they are there, or not."""
    shown = _read_view(dataset, partition)
    marks = {(shard.fingerprint, shard.schema) for shard in shown}
    if len(marks) != 1:
        return
    ((fingerprint, schema),) = marks
    same_making = head is not None and (head.fingerprint, head.schema) == (fingerprint, schema)
    before = {shard.number: shard for shard in head.shards} if head and same_making else {}
    empty = {number: shard for number, shard in before.items() if not shard.files}
    fresh = {shard.number: entry for shard in shown if (entry := _entry(layout, dataset, partition, shard))}
    if len(fresh) != len(shown):
        return
    kept = {
        number: before[number] for number in fresh if number in before and before[number].files == fresh[number].files
    }
    for shards in ({**empty, **fresh, **kept}, {**empty, **fresh}, {**fresh, **kept}):
        yield Manifest(
            corpus=dataset.corpus,
            dataset=dataset.name,
            partition=partition,
            revision=head.revision + 1 if head else 1,
            parent=head.digest() if head else "",
            schema=schema,
            fingerprint=fingerprint,
            shards=tuple(shards[number] for number in sorted(shards)),
            totals=dict(head.totals) if head else {},
        )


def _is_proven(dataset: DatasetLayout, made: Manifest, lost: LostRevisions) -> bool:
    """Say whether something knows the lost manifest well enough to tell that this is it."""
    if lost.pin is not None:
        return lost.pin.sha256 == made.digest()
    if dataset.is_feature:
        return lost.card is not None and lost.card == history_of(dataset, read_schema(dataset), made)
    return dataset.name != CLIPS


def _commit(dataset: DatasetLayout, made: Manifest) -> None:
    committed = commit_partition(
        dataset,
        made.partition,
        schema=made.schema,
        fingerprint=made.fingerprint,
        shards={shard.number: shard for shard in made.shards},
        totals=dict(made.totals),
        replace=True,
        base_revision=made.revision - 1,
    )
    if committed != made:
        raise StoreError(f"revision {made.revision} of {dataset.name} {made.partition} came out otherwise")


# --------------------------------------------------------------------------- what the view shows


def _read_view(dataset: DatasetLayout, partition: str) -> list[_Shown]:
    """Return the shards that a view shows, lowest number first."""
    found: dict[int, dict[str, StorePath]] = {}
    for path in shown_files(dataset, partition):
        found.setdefault(int(path.stem), {})["data" if path.parent.parent.name == "data" else "index"] = path
    return [_read_shard(number, found[number]) for number in sorted(found)]


def _read_shard(number: int, paths: Mapping[str, StorePath]) -> _Shown:
    table = pq.read_metadata(local_file(paths.get("index", paths["data"])))
    facts = json.loads((table.metadata or {})[METADATA_KEY])
    files = tuple(
        FileEntry(role=role, name=path.name, nbytes=path.stat().st_size, sha256=sha256_file(path))
        for role, path in sorted(paths.items())
    )
    return _Shown(
        number=number,
        files=files,
        samples=table.num_rows,
        fingerprint=str(facts.get("fingerprint", "")),
        schema=str(facts["schema_digest"]),
    )


def _entry(layout: StoreLayout, dataset: DatasetLayout, partition: str, shown: _Shown) -> ShardEntry | None:
    """Return what a manifest says of a shard; None where it was made from another spine than today's."""
    if dataset.is_feature:
        return _feature_entry(layout, dataset, partition, shown)
    entry = ShardEntry(number=shown.number, files=shown.files, samples=shown.samples, inputs="", spine=shown.samples)
    if dataset.name != CLIPS:
        return entry
    kind = SPINE.at(shown.schema)
    if kind is None:
        return None
    frame = SPINE.widen(read_shard_table(dataset, kind, entry))
    return ShardEntry(
        number=shown.number,
        files=shown.files,
        samples=shown.samples,
        inputs=identity_digest(frame),
        spine=shown.samples,
    )


def _feature_entry(layout: StoreLayout, dataset: DatasetLayout, partition: str, shown: _Shown) -> ShardEntry | None:
    schema = read_schema(dataset)
    rows = read_spine(layout, dataset.corpus, (partition,)).filter(pl.col("shard") == shown.number).sort("ordinal")
    stub = ShardEntry(number=shown.number, files=shown.files, samples=shown.samples, inputs="", spine=shown.samples)
    reader = ShardReader.open(dataset, stub, schema)
    column = STREAM_COLUMNS[schema.modality]
    if reader is None or not _is_made_from(reader, rows, column):
        return None
    valueless = rows.filter(~pl.col("key").is_in(list(reader.keys)))
    absent = valueless.filter((pl.col(column) == "") | pl.col("superseded")).height
    return ShardEntry(
        number=shown.number,
        files=shown.files,
        samples=shown.samples,
        inputs=note_inputs(inputs_digest(rows, schema.modality), superseded_in(valueless)),
        spine=rows.height,
        absent=absent,
        quarantined=rows.height - shown.samples - absent,
        statistics=count_values(reader),
    )


def _is_made_from(reader: ShardReader, rows: pl.DataFrame, column: str) -> bool:
    """Say whether every value is of the clip, range and stream that the spine has in its place today."""
    names = ("ordinal", "key", "start_ns", "end_ns", column)
    there = {row[0]: row for row in rows.select(names).iter_rows()}
    mine: Sequence[tuple[object, ...]] = list(
        zip(
            reader.ordinals.tolist(),
            reader.keys,
            reader.starts_ns.tolist(),
            reader.ends_ns.tolist(),
            reader.streams,
            strict=True,
        )
    )
    return all(there.get(row[0]) == row for row in mine)
