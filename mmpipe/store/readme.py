"""The text of a feature's README.md and CHANGELOG.md, from plain values."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmpipe.store.croissant import column_meanings
from mmpipe.store.deprecation import Deprecation
from mmpipe.store.history import FOLDER, PartitionHistory
from mmpipe.store.identity import Identity
from mmpipe.store.manifest import Manifest
from mmpipe.store.revisions import manifest_name
from mmpipe.store.rights import Rights, RightsCount
from mmpipe.store.snippets import snippets
from mmpipe.types import FeatureKind, FeatureSchema
from mmpipe.words import counted

NUM_SHOWN = 100  # partitions in a table: a card of thirty years of nights must still open


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """Everything that a card says; nothing in it depends on a clock."""

    schema: FeatureSchema
    corpus: str
    histories: tuple[PartitionHistory, ...]  # oldest first
    newest: Manifest | None  # the newest partition that has a clip
    numbers: tuple[int, ...]  # of its shards that have one
    rights: Rights
    clips: RightsCount | None  # of the whole corpus, where they differ
    deprecation: Deprecation | None
    identity: Identity | None  # what the newest fingerprint stands for, where it was noted

    @property
    def is_copied(self) -> bool:
        """Say whether another team publishes the values: then a pin is fingerprint and weights at once."""
        return bool(self.identity and self.histories and self.identity.weights == self.histories[-1].fingerprint)


def render_readme(facts: CardFacts) -> str:
    """Return the dataset card."""
    parts = [
        _front_matter(facts),
        _introduction(facts),
        _columns(facts.schema),
        _made_by(facts),
        render_rights(facts.rights, facts.clips),
    ]
    parts.append(_partitions(facts.histories))
    if facts.newest is not None:
        parts += [_how_to_read(facts, facts.newest), _how_to_pin(facts.newest)]
    return "\n".join([*parts, _PROMISES])


def render_changelog(facts: CardFacts) -> str:
    """Return what every revision of the newest partitions changed, newest first."""
    lines = [f"# Changes of {facts.schema.feature} of {facts.corpus}", ""]
    for history in _newest_first(facts.histories):
        lines.append(f"## {history.partition}\n")
        first = history.revision
        lines += [f"- revision {first - place}: {_said(change)}" for place, change in enumerate(history.changes)]
        lines.append("")
    return "\n".join(lines + _older(facts.histories))


def _said(change: str) -> str:
    """Return a change in words for a person; it is kept as it is, since what is kept is compared."""
    return re.sub(r"\b1 (clip|shard)s\b", r"1 \1", change)


def _front_matter(facts: CardFacts) -> str:
    schema = facts.schema
    suffix = "tar" if schema.kind is FeatureKind.SEQUENCE else "parquet"
    licence = f"license: other\nlicense_name: {json.dumps(facts.rights.licence)}\n" if facts.rights.licence else ""
    return f"""---
pretty_name: "{facts.corpus} {schema.feature}"
tags: [mmpipe, {schema.modality.value}, features]
{licence}configs:
- config_name: default
  data_files: "data/*/*.{suffix}"
---
"""


def _introduction(facts: CardFacts) -> str:
    schema = facts.schema
    if schema.kind is FeatureKind.SEQUENCE:
        shape = f"a {schema.dtype} array `[T, {schema.dim}]`: T time steps, {schema.dim} dimensions"
        files = "`data/` has plain tars of `.npy` files; `index/` says where each array starts and at what times."
    else:
        shape = f"a {schema.dtype} vector `[{schema.dim}]`"
        files = "`data/` has plain Parquet."
    about = f"{schema.description}\n\n" if schema.description else ""
    notice = f"> **Deprecated.** {facts.deprecation.sentence(schema.feature)}\n\n" if facts.deprecation else ""
    clips = counted(sum(history.clips for history in facts.histories), "clip")
    newest = f"newest {facts.histories[-1].partition}" if facts.histories else "none yet"
    lacks = "which their dataset lacks" if facts.is_copied else f"whose asset has no {schema.modality.value}"
    return f"""# {schema.feature} of {facts.corpus}

{notice}{about}The {schema.modality.value} feature `{schema.feature}`; for each clip {shape}. {files}
A clip {lacks} has no row. Join datasets of the same corpus on `key`.

{clips} in {counted(len(facts.histories), "partition")}, {newest}. What changed: `CHANGELOG.md`.
"""


def _columns(schema: FeatureSchema) -> str:
    rows = "\n".join(f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in column_meanings(schema))
    return f"| column | type | meaning |\n|---|---|---|\n{rows}\n"


def _made_by(facts: CardFacts) -> str:
    if not facts.histories:
        return ""
    name, _, version = facts.schema.feature.rpartition("@")
    known = "".join(f"| {cell(key)} | {cell(value)} |\n" for key, value in _identity_rows(facts))
    return (
        "## What made it\n\n| | |\n|---|---|\n"
        f"| {'copied as' if facts.is_copied else 'extractor'} | {name} |\n| version | {version} |\n"
        f"| fingerprint | `{facts.histories[-1].fingerprint}` |\n{known}\n"
        "Equal fingerprints mean equal values; a partition never mixes two. Every file names extractor, version and\n"
        "fingerprint in its own metadata, under the key `mmpipe` (of a tar: that of its file in `index/`).\n"
    )


def _identity_rows(facts: CardFacts) -> list[tuple[str, str]]:
    identity = facts.identity
    if identity is None:
        return []
    if facts.is_copied:
        return [("sha256 of the pin: what theirs was, here in external-NUMBER.json", identity.weights)]
    params = [(name, json.dumps(value, sort_keys=True)) for name, value in sorted(identity.params.items())]
    prepared = [(f"rendition: {key}", json.dumps(value)) for key, value in sorted(identity.rendition.items())]
    return [*params, *prepared, ("sha256 of the weights", identity.weights or "no weights")]


def render_rights(rights: Rights, clips: RightsCount | None = None) -> str:
    """Return the section that says whose a corpus is; where its clips differ, how many stand under what."""
    said = [
        ("owner", rights.owner),
        ("contact", rights.contact),
        ("licence", rights.licence),
        ("personal data", rights.pii),
        ("consent", rights.consent),
    ]
    rows = "".join(f"| {name} | {cell(value) or 'not said'} |\n" for name, value in said)
    counted = f"| all clips of the corpus | {cell(clips.sentence())} |\n" if clips else ""
    where = "\nOf each asset: the columns `licence`, `pii`, `consent`, `owner` of `../assets/data/`.\n" if clips else ""
    return f"## Whose it is\n\n| | |\n|---|---|\n{rows}{counted}{where}"


def _partitions(histories: Sequence[PartitionHistory]) -> str:
    lines = [
        "## Partitions",
        "",
        "| partition | revision | clips | absent | quarantined | NaN | zero | constant | norm mean (range) | files |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in _newest_first(histories):
        norms = f"{one.norm_mean:.4g} ({one.norm_min:.4g} to {one.norm_max:.4g})" if one.clips else ""
        counts = f"{one.absent} | {one.quarantined} | {one.num_nan} | {one.num_zero} | {one.num_constant}"
        files = f"`{one.files}`" if one.files else ""
        lines.append(f"| {one.partition} | {one.revision} | {one.clips} | {counts} | {norms} | {files} |")
    lines += ["", *_older(histories), f"The same figures as data: `{FOLDER}/YEAR.json`, a list of objects."]
    return "\n".join(lines) + "\n"


def _how_to_read(facts: CardFacts, head: Manifest) -> str:
    programs = snippets(facts.schema, head.partition, facts.numbers)
    parts = [f"## How to read it\n\nIn this folder, without mmpipe; here the partition {head.partition}.\n"]
    parts += [f"### {tool}\n\n```python\n{program}\n```\n" for tool, program in programs.items()]
    return "\n".join(parts)


def _how_to_pin(head: Manifest) -> str:
    return f"""## How to pin it

`data/` moves on. One revision never changes: its manifest lists files by their sha256 under `objects/`.

```python
import json
from pathlib import Path

manifest = json.loads(Path("_meta/dt={head.partition}/{manifest_name(head.revision)}").read_bytes())
files = [file for shard in manifest["shards"] for file in shard["files"] if file["role"] == "data"]
pinned = [Path("objects", file["sha256"][:2], file["sha256"]) for file in files]
```

With mmpipe, a snapshot pins features and clips together: `mmpipe.open("STORE/{head.corpus}", snapshot="NAME")`.
"""


def _newest_first(histories: Sequence[PartitionHistory]) -> list[PartitionHistory]:
    return list(reversed(histories[-NUM_SHOWN:]))


def _older(histories: Sequence[PartitionHistory]) -> list[str]:
    older = histories[:-NUM_SHOWN]
    if not older:
        return []
    clips = counted(sum(history.clips for history in older), "clip")
    return [f"{counted(len(older), 'older partition')} with {clips}: in `{FOLDER}/`.\n"]


def cell(text: str) -> str:
    """Return text that stays within its cell of a Markdown table and makes no markup."""
    flat = " ".join(text.split())
    return "".join(f"\\{character}" if character in "\\|<>`*_[]" else character for character in flat)


_PROMISES = """## What holds

- The columns, the dimension and the dtype never change in this folder: another output is another version.
- `data/` and `index/` show the newest revision. While a commit runs, a listing may show old and new shards together;
  for a fixed set read the files that one manifest in `_meta/` names, from `objects/`.
- A manifest lists every file with its size and sha256. A tar that was cut short reads as fewer clips and no error in
  many tools: compare the counts with the table above, or run `mmpipe verify`.
- The partition's date is the folder's name `dt=...`; in polars and DuckDB it is a date, in pandas and pyarrow a text.
"""
