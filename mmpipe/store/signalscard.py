"""The README.md of the signals: what the columns mean, and how clips are chosen by them."""

from __future__ import annotations

from mmpipe.io import replace_durable
from mmpipe.store.layout import CLIPS, DatasetLayout
from mmpipe.store.objects import stage_path
from mmpipe.store.readme import render_rights
from mmpipe.store.rights import read_noted
from mmpipe.store.spinecard import README_NAME

MEANING = {
    "key": "the clip's name in every dataset of the corpus",
    "asset_id": "the recording, named by its content",
    "start_ns": "start of the clip on its asset's clock, nanoseconds",
    "end_ns": "end of the clip, nanoseconds, exclusive",
    "settings": "digest of the settings by which the clip was cut and measured",
    "duration_s": "length of the clip in seconds",
    "has_video": "whether pictures were decoded in it",
    "has_audio": "whether sound was decoded in it",
    "has_image": "whether its asset has a still picture",
    "has_text": "whether something is said in it",
    "loudness_lufs": "integrated loudness (ITU-R BS.1770-4, mono); -70, its absolute gate, for all that is quieter",
    "peak_dbfs": "largest sample, 0 being full scale; -120 for all that is smaller, as digital silence",
    "clipping_share": "share of samples in runs at full scale",
    "silence_share": "share of time under -60 dBFS",
    "speech_share": "share of time in which somebody speaks",
    "brightness": "mean gray level, white being 1",
    "contrast": "deviation of the gray levels, white being 1",
    "sharpness": "variance of the Laplacian",
    "motion": "mean change from frame to frame of its video, per second, white being 1; 0 for a single frame",
    "black_share": "share of the video's frames that are black",
    "frozen_share": "share of the video's frames that are as the one before; 1 for a single frame",
    "num_shots": "how many shots of the video it touches",
    "text_characters": "length of its text",
    "text_words": "words of its text",
    "repetition_share": "share of the text in phrases of five words that were there before",
    "language": "ISO 639-1 code of the text, empty where it cannot be told",
    "language_confidence": "how sure that is, 0 to 1",
    "av_offset_s": "start of the asset's sound minus start of its pictures; null unless it has both",
    "damaged_share": "largest share of a track of its asset that is lost; above 0 it is damaged; null without tracks",
}


def write_signals_card(dataset: DatasetLayout) -> bool:
    """Bring the README of the signals up to what is known; return whether that changed anything."""
    path, data = dataset.root / README_NAME, render_signals_card(dataset)
    if path.exists() and path.read_bytes() == data:
        return False
    replace_durable(path, data, stage_path(dataset))
    return True


def render_signals_card(dataset: DatasetLayout) -> bytes:
    """Return the README of the signals."""
    noted = read_noted(dataset)
    columns = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in MEANING.items())
    return f"""---
pretty_name: "{dataset.corpus} signals"
tags: [mmpipe, signals]
configs:
- config_name: default
  data_files: "data/*/*.parquet"
---

# The signals of {dataset.corpus}

One row per clip that was looked at when it was taken in, in plain Parquet: also of clips that a filter left out, and
of those that are no longer cut. A column is null only where it does not apply: the sound, the pictures or the text
that it tells of is not in the clip (`has_audio`, `has_video`, `has_image`, `has_text`). What is silent or does not
move has a number.

| column | meaning |
|---|---|
{columns}

{render_rights(noted.rights, noted.clips)}
## How to read it

```python
import polars as pl

signals = pl.scan_parquet("data/*/*.parquet", hive_partitioning=True)
clips = pl.scan_parquet("../{CLIPS}/data/*/*.parquet", hive_partitioning=True).filter(~pl.col("superseded"))
loud = clips.join(signals.filter(pl.col("loudness_lufs") > -30), on="key", how="semi").collect()
```
""".encode()
