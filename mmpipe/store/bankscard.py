"""The README.md of the noise banks: what the columns mean, and how a bank is heard."""

from __future__ import annotations

from mmpipe.io import replace_durable
from mmpipe.store.layout import CLIPS, DatasetLayout
from mmpipe.store.objects import stage_path
from mmpipe.store.readme import render_rights
from mmpipe.store.rights import read_noted
from mmpipe.store.spinecard import README_NAME

MEANING = {
    "bank": "the bank's name in the config",
    "settings": "digest of all by which its clips were chosen",
    "place": "of the clip in the bank, from 0",
    "key": f"the clip's name in `{CLIPS}`",
    "asset_id": "the recording, named by its content",
    "voices": "how many clips sound at once where the bank is mixed in",
    "length_s": "length of the babble, and most that was taken of a clip",
    "seed": "by which clips were drawn, and voices are mixed",
    "sample_rate_hz": "rate of the sound",
    "sha256": "of the sound",
    "wave": "the sound: float32, mono, little-endian",
}


def write_banks_card(dataset: DatasetLayout) -> bool:
    """Bring the README of the banks up to what is known; return whether that changed anything."""
    path, data = dataset.root / README_NAME, render_banks_card(dataset)
    if path.exists() and path.read_bytes() == data:
        return False
    replace_durable(path, data, stage_path(dataset))
    return True


def render_banks_card(dataset: DatasetLayout) -> bytes:
    """Return the README of the banks; of the rights it says those of all clips, whose sound may be in one."""
    noted = read_noted(dataset)
    columns = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in MEANING.items())
    return f"""---
pretty_name: "{dataset.corpus} noise banks"
tags: [mmpipe, noise, audio]
configs:
- config_name: default
  data_files: "data/*/*.parquet"
---

# The noise banks of {dataset.corpus}

The sound of train clips, one row per clip of a bank, in plain Parquet. Renditions mix them into other clips as babble.
A bank stays as it was first made, whatever comes in later; `mmpipe bank make NAME --remake` draws another one.

| column | meaning |
|---|---|
{columns}

{render_rights(noted.rights, noted.clips)}
## How to read it

```python
import numpy as np
import polars as pl

clips = pl.scan_parquet("data/*/*.parquet", hive_partitioning=True).sort("bank", "place").collect()
wave_N = np.frombuffer(clips["wave"][0], dtype="<f4")  # mono, at clips["sample_rate_hz"][0]
```
""".encode()
