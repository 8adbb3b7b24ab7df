"""How other teams read a dataset without mmpipe: short programs to be run in the dataset's folder.

Each one ends with `values`, from a clip's key to its array (for torch, a tensor). A test runs every one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmpipe.types import FeatureKind, FeatureSchema


def snippets(schema: FeatureSchema, partition: str, numbers: Sequence[int]) -> Mapping[str, str]:
    """Return programs by the name of their tool; they read `partition`, whose shards have these numbers."""
    templates = _SEQUENCE if schema.kind is FeatureKind.SEQUENCE else _VECTOR
    year, month, day = partition.split("-")
    facts = {
        "@PARTITION@": partition,
        "@DATE@": f"date({int(year)}, {int(month)}, {int(day)})",
        "@SHARDS@": shard_braces(partition, numbers),
        "@FIRST@": f"{numbers[0]:06d}",
        "@DIM@": str(schema.dim),
        "@DTYPE@": schema.dtype,
    }
    return {tool: _fill(template, facts) for tool, template in templates.items()}


def shard_braces(partition: str, numbers: Sequence[int]) -> str:
    """Return the brace string that names exactly the tars of a partition; a gap in a range makes WebDataset fail."""
    runs = [f"{first:06d}" if first == last else f"{{{first:06d}..{last:06d}}}" for first, last in _runs(numbers)]
    names = runs[0] if len(runs) == 1 else "{" + ",".join(runs) + "}"
    return f"data/dt={partition}/{names}.tar"


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _fill(template: str, facts: Mapping[str, str]) -> str:
    for name, fact in facts.items():
        template = template.replace(name, fact)
    return template.strip()


_VECTOR = {
    "polars": """
from datetime import date
import polars as pl

rows = pl.scan_parquet("data/*/*.parquet", hive_partitioning=True).filter(pl.col("dt") == @DATE@).collect()
x_ND = rows["value"].to_numpy()  # @DTYPE@ [N, @DIM@]
values = dict(zip(rows["key"], x_ND))
""",
    "duckdb": """
import duckdb
import numpy as np

rows = duckdb.sql("select key, value from read_parquet('data/*/*.parquet', hive_partitioning=true) "
                  "where dt = date '@PARTITION@'").fetchall()
values = {key: np.array(value, np.@DTYPE@) for key, value in rows}
""",
    "pandas": """
import pandas as pd

rows = pd.read_parquet("data", filters=[("dt", "=", "@PARTITION@")])
values = dict(zip(rows["key"], rows["value"]))
""",
    "pyarrow": """
import pyarrow.dataset as ds

rows = ds.dataset("data", partitioning="hive").to_table(filter=ds.field("dt") == "@PARTITION@")
x_ND = rows["value"].combine_chunks().flatten().to_numpy().reshape(-1, @DIM@)
values = dict(zip(rows["key"].to_pylist(), x_ND))
""",
    "numpy": """
from pathlib import Path
import numpy as np
import pyarrow.parquet as pq

values = {}
for file in sorted(Path("data/dt=@PARTITION@").glob("*.parquet")):
    rows = pq.ParquetFile(file).read(["key", "value"])
    x_ND = np.stack(rows["value"].to_numpy())
    values.update(zip(rows["key"].to_pylist(), x_ND))
""",
    "datasets": """
from datetime import date
from pathlib import Path
import numpy as np
from datasets import load_dataset

# The folder's date is no column here: `event_date` in the files is the same date.
chosen = {"columns": ["key", "value"], "filters": [("event_date", "=", @DATE@)]}
rows = load_dataset(str(Path.cwd()), split="train", **chosen)  # "." has no name
x_ND = np.asarray(rows.with_format("numpy")["value"][:], "@DTYPE@")  # [N, @DIM@]
values = dict(zip(rows["key"], x_ND))
""",
    "torch": """
import polars as pl
import torch

rows = pl.read_parquet("data/dt=@PARTITION@/*.parquet")
x_ND = torch.from_numpy(rows["value"].to_numpy().copy())  # a copy: the file's own memory cannot be written
values = dict(zip(rows["key"], x_ND))
""",
}

_SEQUENCE = {
    "webdataset": """
import webdataset as wds

samples = wds.WebDataset("@SHARDS@", shardshuffle=False).decode()
values = {sample["__key__"]: sample["npy"] for sample in samples}  # @DTYPE@ [T, @DIM@]
""",
    "polars": """
from datetime import date
from pathlib import Path
import numpy as np
import polars as pl

index = pl.scan_parquet("index/*/*.parquet", hive_partitioning=True, include_file_paths="file")
values = {}
for row in index.filter(pl.col("dt") == @DATE@).collect().iter_rows(named=True):
    tar = Path("data", *Path(row["file"]).with_suffix(".tar").parts[-2:])
    values[row["key"]] = np.memmap(tar, "@DTYPE@", "r", row["offset"], tuple(row["shape"]))  # [T, @DIM@]
""",
    "duckdb": """
from pathlib import Path
import duckdb
import numpy as np

rows = duckdb.sql(\"\"\"
    select key, 'data/dt=@PARTITION@/' || parse_filename(filename, true) || '.tar', "offset", shape
    from read_parquet('index/*/*.parquet', hive_partitioning=true, filename=true) where dt = date '@PARTITION@'
\"\"\").fetchall()
values = {key: np.memmap(tar, "@DTYPE@", "r", offset, tuple(shape)) for key, tar, offset, shape in rows}
""",
    "pandas": """
from pathlib import Path
import numpy as np
import pandas as pd

values = {}
for file in sorted(Path("index/dt=@PARTITION@").glob("*.parquet")):
    tar = Path("data", file.parent.name, file.stem + ".tar")
    for row in pd.read_parquet(file, partitioning=None).itertuples():
        values[row.key] = np.memmap(tar, "@DTYPE@", "r", row.offset, tuple(row.shape))  # [T, @DIM@]
""",
    "pyarrow": """
from pathlib import Path
import numpy as np
import pyarrow.parquet as pq

values = {}
for file in sorted(Path("index/dt=@PARTITION@").glob("*.parquet")):
    tar = Path("data", file.parent.name, file.stem + ".tar")
    for row in pq.ParquetFile(file).read(["key", "offset", "shape"]).to_pylist():
        values[row["key"]] = np.memmap(tar, "@DTYPE@", "r", row["offset"], tuple(row["shape"]))  # [T, @DIM@]
""",
    "numpy": """
import io
import tarfile
from pathlib import Path
import numpy as np

values = {}
for file in sorted(Path("data/dt=@PARTITION@").glob("*.tar")):
    with tarfile.open(file) as tar:
        for member in tar:
            values[Path(member.name).stem] = np.load(io.BytesIO(tar.extractfile(member).read()))  # [T, @DIM@]
""",
    "datasets": """
import numpy as np
from datasets import load_dataset

files = {"train": "data/dt=@PARTITION@/*.tar"}
clips = load_dataset("webdataset", data_files=files, split="train", streaming=True)
values = {clip["__key__"]: np.array(clip["npy"], "@DTYPE@") for clip in clips}  # [T, @DIM@]
""",
    "torch": """
import torch
import webdataset as wds

clips = wds.WebDataset("@SHARDS@", shardshuffle=False).decode()
loader = torch.utils.data.DataLoader(clips, batch_size=None)  # workers: at most one per shard
values = {clip["__key__"]: clip["npy"] for clip in loader}  # tensors [T, @DIM@]
""",
}
