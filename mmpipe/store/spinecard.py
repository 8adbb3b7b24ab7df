"""The README.md of the clips themselves: what the columns mean, and how features join on them."""

from __future__ import annotations

from mmpipe.io import replace_durable
from mmpipe.store.layout import DatasetLayout
from mmpipe.store.objects import stage_path
from mmpipe.store.readme import render_rights
from mmpipe.store.rights import read_noted

README_NAME = "README.md"
MEANING = {
    "key": "the clip's name in every dataset of the corpus",
    "shard": "number of the shard of every feature that holds the clip",
    "ordinal": "position in that shard",
    "asset_id": "the recording, named by its content",
    "source_id": "the recording's name in the corpus",
    "start_ns": "start of the clip on its asset's clock, nanoseconds",
    "end_ns": "end of the clip, nanoseconds, exclusive",
    "group": "clips of one group are never in two splits",
    "split": "train, val or test; a hash of the group, so that it never moves",
    "text": "what is said in the clip; where the words are from, says `origin` of the assets",
    "labels": "JSON object of the labels table's columns",
    "superseded": "true where a newer file of the same name took the clip's place: leave it out",
    "video": "digest of the asset's video, empty where it has none",
    "audio": "digest of the asset's sound, empty where it has none",
    "image": "digest of the asset's picture, empty where it has none",
    "text_stream": "digest of the asset's text, empty where it has none",
    "array": "digest of the asset's array of numbers, empty where it has none",
}


def write_spine_card(dataset: DatasetLayout) -> bool:
    """Bring the README of the clips up to what is known; return whether that changed anything."""
    path, data = dataset.root / README_NAME, render_spine_card(dataset)
    if path.exists() and path.read_bytes() == data:
        return False
    replace_durable(path, data, stage_path(dataset))
    return True


def render_spine_card(dataset: DatasetLayout) -> bytes:
    """Return the README of the clips; its only figures are noted ones, so that no commit has to count."""
    noted = read_noted(dataset)
    columns = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in MEANING.items())
    return f"""---
pretty_name: "{dataset.corpus} clips"
tags: [mmpipe, clips]
configs:
- config_name: default
  data_files: "data/*/*.parquet"
---

# The clips of {dataset.corpus}

One row per clip, in plain Parquet: its place, split and labels. Every feature of the corpus is a folder beside this
one; join on `key`. A clip without a row there lacks the modality, or its file is in quarantine.

| column | meaning |
|---|---|
{columns}

{render_rights(noted.rights, noted.clips)}
## How to read it

```python
from datetime import date
import polars as pl

clips = pl.scan_parquet("data/*/*.parquet", hive_partitioning=True).filter(~pl.col("superseded"))
rows = clips.filter(pl.col("dt") >= date(2026, 1, 1)).collect()  # the partition is the folder's name, a date
labels = rows["labels"].str.json_decode(infer_schema_length=None)  # a struct: a field per column of the labels table
```
""".encode()
