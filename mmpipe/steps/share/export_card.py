"""The README.md of an export: its columns, its splits, whose it is, and how to read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmpipe.export.huggingface import front_matter
from mmpipe.export.sample import Column, Shape, axes_of
from mmpipe.store.readme import cell
from mmpipe.store.rights import UNKNOWN, Rights, RightsCount
from mmpipe.store.rightscount import COUNTED


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedRights:
    """Whose the exported clips are: what is said of the corpus, and how many clips say what."""

    corpus: Rights
    owners: Mapping[str, int]
    count: RightsCount

    @property
    def licence(self) -> str:
        """Return the licence that every clip has; "" where they differ or nobody knows it."""
        licences = set(self.count.licence)
        return licences.pop() if len(licences) == 1 and UNKNOWN not in licences else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFacts:
    """Everything that the card says."""

    corpus: str
    snapshot: str  # its digest
    snapshot_file: str
    record_file: str
    shape: Shape
    columns: Sequence[Column]
    clips: Mapping[str, int]  # by split
    left_out: Sequence[str]  # features of which no clip has a value
    rights: ExportedRights
    program: str
    on_hub: bool


def count_exported(corpus: Rights, clips: Sequence[Mapping[str, str]]) -> ExportedRights:
    """Count what clips say of themselves."""
    counts = {name: dict(sorted(Counter(clip[name] for clip in clips).items())) for name in ("owner", *COUNTED)}
    return ExportedRights(corpus=corpus, owners=counts.pop("owner"), count=RightsCount(**counts))


def render_export_card(facts: ExportFacts) -> str:
    """Return the card; for the hub with the front matter by which its reader finds the splits."""
    head = front_matter(facts.clips, facts.rights.licence) if facts.on_hub else ""
    features = "".join(f"| `{s.feature}` | {s.dtype} | `{axes_of(s)}` |\n" for s in facts.shape.features)
    splits = "".join(f"| {split} | {clips} |\n" for split, clips in facts.clips.items())
    columns = "".join(f"| `{c.name}` | {cell(c.type)} | {c.meaning} |\n" for c in facts.columns)
    names = ", ".join(f"`{name}`" for name in facts.left_out)
    labels = ", ".join(cell(name) for name in facts.shape.labels)
    said = f"\nThe labels are: {labels}.\n" if labels else ""
    left_out = f"Left out, because no clip has a value: {names}.\n\n" if names else ""
    return f"""{head}# {facts.corpus}, joined by clip

Made from the snapshot `{facts.snapshot}` of the corpus {facts.corpus}: `{facts.snapshot_file}` names every
manifest it was read from, `{facts.record_file}` every file with its sha256. One sample per clip, with every feature; a
clip that lacks a modality says so.

| feature | type | value |
|---|---|---|
{features}
{left_out}| split | clips |
|---|---|
{splits}
## Columns

| column | type | meaning |
|---|---|---|
{columns}{said}
{_whose(facts.rights)}
## How to read it

```python
{facts.program}
```
"""


def _whose(rights: ExportedRights) -> str:
    """Say whose the clips are; where they differ, how many say what."""
    said = {
        "owner": _counted(rights.owners),
        "contact": rights.corpus.contact,
        "licence": _counted(rights.count.licence),
        "personal data": _counted(rights.count.pii),
        "consent": _counted(rights.count.consent),
    }
    rows = "".join(f"| {name} | {cell(value) or 'not said'} |\n" for name, value in said.items())
    return f"""## Whose it is

| | |
|---|---|
{rows}
As it was said when this was written: {cell(rights.count.sentence())}. Every sample says its own in `licence`, `pii`,
`consent` and `owner`; what is forgotten or withdrawn later is withdrawn in the store, not here.
"""


def _counted(counts: Mapping[str, int]) -> str:
    """Return the one thing that all clips say, or each with its count."""
    if len(counts) < 2:
        return "".join(counts)
    return ", ".join(f"{name or 'not said'} ({clips:,})" for name, clips in counts.items())
