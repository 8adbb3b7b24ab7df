"""Another team reads the shards without mmpipe, and gets the very arrays that our reader gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kill_corpus import CORPUS, DT

from mmpipe.batches.aligned import AlignedReader
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import take_snapshot

pytest_plugins = ("kill_fixtures",)

# No import of mmpipe can work in it: the finder that refuses stands before all others.
PROGRAM = """
import io, json, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mmpipe":
            raise ImportError("mmpipe is not here")
sys.meta_path.insert(0, Refuse())
try:
    import mmpipe
    raise SystemExit("mmpipe could be imported")
except ImportError:
    pass
import numpy as np
import polars as pl
import webdataset as wds
corpus, out = sys.argv[1:]
arrays = {}
for feature in ("audio-mfccseg@1", "text-ngrams@1", "image-hogdct@1"):
    frame = pl.read_parquet(f"{corpus}/{feature}/data/*/*.parquet")
    for row in frame.iter_rows(named=True):
        arrays[f"{feature} {row['key']}"] = np.array(row["value"], dtype=np.float32)
for feature in ("audio-logmel@1", "video-hogdct@1"):
    index = pl.read_parquet(f"{corpus}/{feature}/index/*/*.parquet")
    numbers = sorted(set(index["key"]))
    import glob
    shards = sorted(glob.glob(f"{corpus}/{feature}/data/*/*.tar"))
    keys = set()
    for sample in wds.WebDataset(shards, shardshuffle=False).decode():
        arrays[f"{feature} {sample['__key__']}"] = sample["npy"]
        keys.add(sample["__key__"])
    assert keys == set(numbers), (keys, numbers)
np.savez(out, **arrays)
"""


@pytest.fixture(scope="module")
def read_back(mixed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Return what the other team read: "feature key" -> array."""
    out = tmp_path_factory.mktemp("slice") / "arrays.npz"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(mixed.store / CORPUS), str(out)],
        capture_output=True,
        text=True,
        cwd=out.parent,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    with np.load(out, allow_pickle=False) as found:
        return dict(found)


@pytest.mark.parametrize(
    "feature", ["audio-logmel@1", "audio-mfccseg@1", "image-hogdct@1", "text-ngrams@1", "video-hogdct@1"]
)
def test_plain_tools_read_every_value_that_our_reader_gives(mixed, read_back, feature):
    layout = StoreLayout(mixed.store)
    reader = AlignedReader(layout, take_snapshot(layout, CORPUS, (feature,)), (feature,))
    rows = np.flatnonzero(reader.lengths(feature) > 0)
    assert len(rows)
    theirs = {name.split(" ")[1]: array for name, array in read_back.items() if name.startswith(feature)}
    assert set(theirs) == {reader.spine["key"][int(row)] for row in rows}
    for row in rows:
        found = reader.gather(np.array([row])).features[feature]
        ours = found.x_BTD[0][found.mask_BT[0]]
        array = theirs[reader.spine["key"][int(row)]]
        assert array.dtype == np.float32
        assert np.array_equal(array.reshape(ours.shape), ours)


def test_the_index_leads_plain_reads_to_the_arrays_inside_a_tar(mixed, read_back):
    """What a memory map needs: offset, size and shape, with no tar reader in between."""
    import polars as pl

    feature = mixed.store / CORPUS / "audio-logmel@1"
    index = pl.read_parquet(feature / "index" / f"dt={DT}" / "000000.parquet")
    tar = (feature / "data" / f"dt={DT}" / "000000.tar").read_bytes()
    for row in index.iter_rows(named=True):
        payload = tar[row["offset"] : row["offset"] + row["nbytes"]]
        array = np.frombuffer(payload, dtype=np.float32).reshape(row["shape"])
        assert np.array_equal(array, read_back[f"audio-logmel@1 {row['key']}"])


def test_the_store_says_in_plain_json_what_it_is(mixed):
    for name in ("schema.json", "croissant.json"):
        for feature in ("audio-logmel@1", "text-ngrams@1"):
            assert json.loads(Path(mixed.store / CORPUS / feature / name).read_bytes())
