"""What another team reads first: README.md and croissant.json, made from the frozen schema and the heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmpipe.io import canonical_json, replace_durable
from mmpipe.store.croissant import column_meanings, croissant
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.manifest import Manifest
from mmpipe.store.objects import stage_path
from mmpipe.store.revisions import read_head
from mmpipe.store.schema import freeze_schema
from mmpipe.store.snippets import shard_braces, snippets
from mmpipe.types import FeatureKind, FeatureSchema


def write_card(dataset: DatasetLayout, schema: FeatureSchema) -> bool:
    """Bring a feature's README.md, croissant.json and schema.json up to its heads; return whether anything changed."""
    frozen = freeze_schema(dataset, schema)
    changed = False
    while stale := _stale_files(dataset, frozen):  # another partition may be committed while this writes
        for path, data in stale.items():
            replace_durable(path, data, stage_path(dataset))
        changed = True
    return changed


def read_heads(dataset: DatasetLayout) -> tuple[Manifest, ...]:
    """Return the head of every partition, oldest first."""
    heads = (read_head(dataset, partition) for partition in dataset.partitions())
    return tuple(head for head in heads if head is not None)


def render_card(dataset: DatasetLayout, schema: FeatureSchema, heads: Sequence[Manifest]) -> Mapping[str, bytes]:
    """Return the generated files by name; the same heads give the same bytes."""
    published = max((head.partition for head in heads), default="1970-01-01")
    return {
        "README.md": render_readme(schema, dataset.corpus, heads).encode(),
        "croissant.json": canonical_json(croissant(schema, dataset.corpus, published)),
    }


def render_readme(schema: FeatureSchema, corpus: str, heads: Sequence[Manifest]) -> str:
    """Return the dataset card."""
    parts = [_front_matter(schema, corpus), _introduction(schema, corpus), _columns(schema), _partitions(schema, heads)]
    filled = [head for head in heads if head.samples]
    if filled:
        parts.append(_how_to_read(schema, filled[-1]))
    return "\n".join([*parts, _PROMISES])


def _stale_files(dataset: DatasetLayout, schema: FeatureSchema) -> Mapping[Path, bytes]:
    """Return what the files of the card should hold, where they do not."""
    wanted = render_card(dataset, schema, read_heads(dataset))
    paths = {dataset.root / name: data for name, data in wanted.items()}
    return {path: data for path, data in paths.items() if not path.exists() or path.read_bytes() != data}


def _front_matter(schema: FeatureSchema, corpus: str) -> str:
    suffix = "tar" if schema.kind is FeatureKind.SEQUENCE else "parquet"
    return f"""---
pretty_name: "{corpus} {schema.feature}"
tags: [mmpipe, {schema.modality.value}, features]
configs:
- config_name: default
  data_files: "data/*/*.{suffix}"
---
"""


def _introduction(schema: FeatureSchema, corpus: str) -> str:
    if schema.kind is FeatureKind.SEQUENCE:
        shape = f"a float32 array `[T, {schema.dim}]`: T time steps, {schema.dim} dimensions"
        files = "`data/` has plain tars of `.npy` files; `index/` says where each array starts and at what times."
    else:
        shape = f"a float32 vector `[{schema.dim}]`"
        files = "`data/` has plain Parquet."
    about = f"{schema.description}\n\n" if schema.description else ""
    return f"""# {schema.feature} of {corpus}

{about}The {schema.modality.value} feature `{schema.feature}`; for each clip {shape}. {files}
A clip whose asset has no {schema.modality.value} has no row. Join datasets of the same corpus on `key`.
"""


def _columns(schema: FeatureSchema) -> str:
    rows = "\n".join(f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in column_meanings(schema))
    return f"| column | type | meaning |\n|---|---|---|\n{rows}\n"


def _partitions(schema: FeatureSchema, heads: Sequence[Manifest]) -> str:
    lines = ["## Partitions", "", "| partition | revision | clips | files |", "|---|---|---|---|"]
    for head in heads:
        numbers = _filled_shards(head)
        files = f"{len(numbers)} shards"
        if numbers and schema.kind is FeatureKind.SEQUENCE:
            files = f"`{shard_braces(head.partition, numbers)}`"
        lines.append(f"| {head.partition} | {head.revision} | {head.samples} | {files} |")
    return "\n".join(lines) + "\n"


def _how_to_read(schema: FeatureSchema, head: Manifest) -> str:
    programs = snippets(schema, head.partition, _filled_shards(head))
    parts = [f"## How to read it\n\nIn this folder, without mmpipe; here the partition {head.partition}.\n"]
    parts += [f"### {tool}\n\n```python\n{program}\n```\n" for tool, program in programs.items()]
    return "\n".join(parts)


def _filled_shards(head: Manifest) -> list[int]:
    return [shard.number for shard in head.shards if shard.files]


_PROMISES = """## What holds

- The columns, the dimension and the dtype never change in this folder: another output is another version.
- `data/` and `index/` show the newest revision. While a commit runs, a listing may show old and new shards together;
  for a fixed set read the files that one manifest in `_meta/` names, from `objects/`.
- A manifest lists every file with its size and sha256. A tar that was cut short reads as fewer clips and no error in
  many tools: compare the counts with the table above, or run `mmpipe verify`.
- The partition's date is the folder's name `dt=...`; in polars and DuckDB it is a date, in pandas and pyarrow a text.
"""
