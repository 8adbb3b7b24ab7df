"""How long does the ledger take over 10,000 dates x 8 features with 1,000,000 clips, and how much memory?

Builds a temporary store whose manifests and spine are real and whose values are a few bytes under many names, and asks
what is due: cold (nothing kept from an earlier look), warm, and as a whole night that has nothing to do; and what
there is, as `mmpipe ls` does. Every question is a process of its own, as on the command line; times include the start
of Python.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from benchmarks.told import log, print_table
from mmpipe.config import Config, parse_config
from mmpipe.features.extractor import Extractor, feature_name, fingerprint
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.feature_set import resolve_features
from mmpipe.steps.plan.inputs import inputs_digests
from mmpipe.store.layout import CLIPS, DatasetLayout, StoreLayout
from mmpipe.store.manifest import FileEntry, Manifest, ShardEntry
from mmpipe.store.parquet import write_parquet
from mmpipe.store.schema import freeze_schema, schema_digest
from mmpipe.store.spine import SPINE, read_spine
from mmpipe.types import Modality, digest_of

CORPUS = "bench"
CLIPS_PER_DATE = 100
MORE = ("text-more1", "text-more2", "text-more3")  # beside the five that need no weights
GOALS = {"warm_plan_s": 10.0, "nothing_to_do_s": 10.0, "warm_ls_s": 3.0, "peak_mib": 1024.0}
SOME_BYTES = b"some bytes"
LINKS_PER_FILE = 50_000  # ext4 allows 65,000


def main() -> None:
    """Run the benchmark and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,000 dates: under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    dates = 1_000 if arguments.quick else 10_000
    with tempfile.TemporaryDirectory(prefix="mmpipe-bench-") as folder:
        add_features(Path(folder))
        config = make_config(Path(folder))
        log(f"building {dates} dates x {len(resolve_features(config, CORPUS))} features, {CLIPS_PER_DATE} clips each")
        build_store(config, dates)
        result = measure(Path(folder), config, dates)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print_table(result)


def measure(folder: Path, config: Config, dates: int) -> dict[str, object]:
    """Ask in processes of their own and return what it took."""
    (folder / "config.json").write_text(config.model_dump_json())
    cold = ask(folder, "plan")
    warm = [ask(folder, "plan") for _ in range(5)]
    nothing = [ask(folder, "night") for _ in range(5)]
    listed = [ask(folder, "ls") for _ in range(5)]
    peak_mib = max(answer["peak_mib"] for answer in (*warm, *nothing, *listed))
    warm_s, nothing_s, ls_s = (
        statistics.median(answer["seconds"] for answer in answers) for answers in (warm, nothing, listed)
    )
    return {
        "benchmark": "ledger",
        "goals": GOALS,
        "ratios": {
            "goal_over_warm_plan": GOALS["warm_plan_s"] / warm_s,
            "goal_over_nothing_to_do": GOALS["nothing_to_do_s"] / nothing_s,
            "goal_over_warm_ls": GOALS["warm_ls_s"] / ls_s,
            "goal_over_peak": GOALS["peak_mib"] / peak_mib,
            "cold_over_warm": cold["seconds"] / warm_s,
        },
        "figures": {
            "cold_plan_s": cold["seconds"],
            "cold_peak_mib": cold["peak_mib"],
            "warm_plan_s": warm_s,
            "nothing_to_do_s": nothing_s,
            "warm_ls_s": ls_s,
            "peak_mib": peak_mib,
        },
        "raw": {
            "warm_plan_s": [a["seconds"] for a in warm],
            "nothing_to_do_s": [a["seconds"] for a in nothing],
            "warm_ls_s": [a["seconds"] for a in listed],
        },
        "setting": {
            "dates": dates,
            "features": len(resolve_features(config, CORPUS)),
            "clips": dates * CLIPS_PER_DATE,
            "cpus": len(os.sched_getaffinity(0)),
            "machine": platform.machine(),
            "polars": pl.__version__,
        },
    }


QUESTION = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from mmpipe.config import Config
config = Config.model_validate_json(Path(sys.argv[1], "config.json").read_bytes())
if sys.argv[2] == "plan":
    from mmpipe.steps.plan.plan import plan_corpus
    due = plan_corpus(config, "bench").shards
elif sys.argv[2] == "ls":
    from mmpipe.steps.tell.inspect import list_datasets
    due = [row for row in list_datasets(config) if not row["rows"]]
else:
    from mmpipe.steps.night.night import what_is_due
    due = what_is_due(config, "bench", "2026-11-20")
assert not due, due[:3]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def ask(folder: Path, question: str) -> dict[str, float]:
    """Ask one question in a fresh process; the answer must be that nothing is due, or that no dataset is empty."""
    started_s = time.perf_counter()
    command = [sys.executable, "-c", QUESTION, str(folder), question]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - started_s
    log(f"{question}: {seconds:.2f} s")
    return {"seconds": seconds, "peak_mib": float(answer.stdout)}


def add_features(folder: Path) -> None:
    """Install three more extractors, as a package of somebody else would."""
    lines = ["from mmpipe.features.text_ngrams import TextNgrams"]
    lines += [f"class More{number}(TextNgrams):\n    name = {name!r}" for number, name in enumerate(MORE)]
    (folder / "bench_features.py").write_text("\n".join(lines))
    info = folder / "bench_features-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-features\nVersion: 1\n")
    entries = "\n".join(f"{name} = bench_features:More{number}" for number, name in enumerate(MORE))
    (info / "entry_points.txt").write_text(f"[mmpipe.extractors]\n{entries}\n")
    sys.path.insert(0, str(folder))


def make_config(folder: Path) -> Config:
    """Return a config with all features, over a folder of one sentence."""
    (folder / "raw").mkdir()
    (folder / "raw" / "one.txt").write_text("one sentence")
    os.utime(folder / "raw" / "one.txt", (1_700_000_000, 1_700_000_000))  # too young a file is looked at twice
    features = ["audio-logmel", "audio-mfccseg", "image-hogdct", "text-ngrams", "video-hogdct", *MORE]
    corpus = {"root": str(folder / "raw"), "features": features}
    return parse_config({"store": str(folder / "store"), "corpora": {CORPUS: corpus}})


def build_store(config: Config, dates: int) -> None:
    """Write what years of nights would have left, without waiting for the disk."""
    ingest_corpus(config, CORPUS, "2026-11-20")
    layout, extractors = StoreLayout(config.store), resolve_features(config, CORPUS)
    placers = {feature_name(e): ObjectPlacer(layout.dataset(CORPUS, feature_name(e))) for e in extractors}
    for extractor in extractors:
        freeze_schema(layout.dataset(CORPUS, feature_name(extractor)), extractor.schema)
    for number in range(dates):
        partition = (date(2026, 11, 19) - timedelta(days=number)).isoformat()
        digests = write_spine_date(layout.dataset(CORPUS, CLIPS), partition)
        for extractor in extractors:
            placer = placers[feature_name(extractor)]
            write_feature_date(placer, partition, extractor, digests[extractor.modality])
    digests = inputs_digests(read_spine(layout, CORPUS, ("2026-11-20",)))
    for extractor in extractors:
        placer = placers[feature_name(extractor)]
        write_feature_date(placer, "2026-11-20", extractor, digests[extractor.modality], clips=1)


def made_up_spine(partition: str) -> pl.DataFrame:
    """Return the clips of a date, each of its own recording with all modalities."""
    numbers = range(CLIPS_PER_DATE)
    digests = [digest_of(partition, number) for number in numbers]
    same = {name: [""] * CLIPS_PER_DATE for name in ("group", "split", "text", "labels", "array")}
    columns = {
        "key": [digest[:24] for digest in digests],
        "shard": [0] * CLIPS_PER_DATE,
        "ordinal": list(numbers),
        "asset_id": digests,
        "source_id": [f"{partition}/{number:06d}" for number in numbers],
        "start_ns": [0] * CLIPS_PER_DATE,
        "end_ns": [2_000_000_000] * CLIPS_PER_DATE,
        "superseded": [False] * CLIPS_PER_DATE,
        **dict.fromkeys(("video", "audio", "image", "text_stream"), digests),
    }
    return pl.DataFrame({**columns, **same}, schema_overrides=SPINE.schema).select(SPINE.names)


def write_spine_date(dataset: DatasetLayout, partition: str) -> dict[Modality, str]:
    """Write the spine of a date and return what its features must be made from."""
    frame = made_up_spine(partition)
    staged = dataset.root / "staged"
    facts = {"corpus": CORPUS, "dataset": CLIPS, "format": 1, "partition": partition, "shard": 0}
    arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(SPINE.arrow_schema()).combine_chunks()
    write_parquet(staged, arrow, facts | {"schema_digest": SPINE.digest}, SPINE.dictionary)
    data = staged.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    dataset.object(sha256).parent.mkdir(parents=True, exist_ok=True)
    staged.rename(dataset.object(sha256))
    file = FileEntry(role="data", name="000000.parquet", nbytes=len(data), sha256=sha256)
    entry = ShardEntry(number=0, files=(file,), samples=frame.height, inputs="", spine=frame.height)
    write_manifest(dataset, partition, entry, SPINE.digest, "")
    return inputs_digests(frame)


def write_feature_date(
    placer: ObjectPlacer, partition: str, extractor: Extractor, inputs: str, clips: int = CLIPS_PER_DATE
) -> None:
    """Write a date of a feature: a real manifest over made-up objects."""
    files = (
        placer.place("data", "000000.tar", partition),
        placer.place("index", "000000.parquet", partition),
    )
    entry = ShardEntry(number=0, files=files, samples=clips, inputs=inputs, spine=clips)
    write_manifest(placer.dataset, partition, entry, schema_digest(extractor.schema), fingerprint(extractor))


def write_manifest(dataset: DatasetLayout, partition: str, entry: ShardEntry, schema: str, mark: str) -> None:
    """Write the first manifest of a date."""
    manifest = Manifest(
        corpus=dataset.corpus,
        dataset=dataset.name,
        partition=partition,
        revision=1,
        parent="",
        schema=schema,
        fingerprint=mark,
        shards=(entry,),
    )
    dataset.meta(partition).mkdir(parents=True)
    (dataset.meta(partition) / "000001.json").write_bytes(manifest.to_bytes())


class ObjectPlacer:
    """Gives a dataset objects that take no room: many names of a few files, since the ledger reads sizes alone."""

    def __init__(self, dataset: DatasetLayout) -> None:
        self.dataset = dataset
        self._links = 0

    def place(self, role: str, name: str, partition: str) -> FileEntry:
        """Make one object and return its entry."""
        sha256 = digest_of(self.dataset.name, partition, role)
        source = self.dataset.root / f"bytes-{self._links // LINKS_PER_FILE}"
        if not source.exists():
            source.write_bytes(SOME_BYTES)
        target = self.dataset.object(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
        self._links += 1
        return FileEntry(role=role, name=name, nbytes=len(SOME_BYTES), sha256=sha256)


if __name__ == "__main__":
    main()
