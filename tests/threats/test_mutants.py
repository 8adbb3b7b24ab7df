"""Broken and hostile files through the real ingest: every one is used or has a reason, and none takes a worker down.

200 on every run; 1,000 with the real files beside them in `./run sweep`, which prints what became of them.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from pathlib import Path

import mutants
import pytest
from corpus_maker import CORPUS, DT, make_config, require_accounts

from mmpipe.config import Config, LimitsConfig
from mmpipe.engine.local import LocalEngine
from mmpipe.engine.work import WorkItem
from mmpipe.sources.listing import list_corpus
from mmpipe.steps.ingest.ingest import PROBE_BATCH, ingest_corpus
from mmpipe.steps.ingest.ingest_report import IngestReport
from mmpipe.steps.workers.worker import ProbeWork
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("warm_workers")
SEED = 7
OF_A_WORKER = {"worker_killed", "timeout", "memory"}  # what ends a process, not a file


def take_in(folder: Path, decode: bool) -> tuple[Config, IngestReport]:
    """Ingest what lies in a folder with every reader on."""
    config = make_config(
        folder,
        max_quarantined=1,
        arrays={"suffixes": ["npy"], "rate_hz": 10},
        validate_by="decode" if decode else "probe",
        limits={"seconds_per_asset": 30},
    )
    return config, ingest_corpus(config, CORPUS, DT)


def require_every_file_settled(config: Config, report: IngestReport, num_files: int) -> Counter[str]:
    """Hold that good, quarantined and duplicates are all there is; return how often each reason stands."""
    require_accounts(report)
    assert sum(count.files for count in report.partitions) == num_files
    rows = read_quarantine(StoreLayout(config.store), CORPUS)
    assert all(row["code"] and row["detail"] and row["stage"] and row["replay"] for row in rows.to_dicts())
    opened = rows.filter((rows["stage"] != "list") & (rows["code"] != "sibling_unusable") & (rows["file"] != ""))
    assert all(len(row["file_sha256"]) == 64 and json.loads(row["facts"])["bytes"] for row in opened.to_dicts())
    assert not OF_A_WORKER & set(rows["code"])
    assert not verify_store(StoreLayout(config.store))
    lost = rows.filter(~rows["kept"] & (rows["file"] != ""))
    assert lost["file"].n_unique() == sum(count.quarantined + count.duplicates for count in report.partitions)
    return Counter(lost.unique("file")["code"])


def test_two_hundred_mutants_are_each_used_or_have_a_reason(tmp_path: Path) -> None:
    written = mutants.write_mutants(tmp_path / "media", mutants.make_seeds(), SEED, 200)
    config, report = take_in(tmp_path, decode=False)
    codes = require_every_file_settled(config, report, len(written))
    used = sum(count.used for count in report.partitions)
    assert 40 <= used <= 160 and len(codes) >= 5, (used, codes)


def test_the_mutants_are_the_same_every_time() -> None:
    seeds = {"wav": bytes(range(256)) * 8, "png": b"\x89PNG\r\n\x1a\n" + bytes(200)}
    first, again = (list(mutants.make_mutants(seeds, SEED, 60)) for _ in range(2))
    assert first == again
    longer = list(mutants.make_mutants(seeds, SEED, 80))
    assert longer[:60] == first and {mutant.name for mutant in longer[60:]}.isdisjoint(m.name for m in first)
    assert list(mutants.make_mutants(seeds, SEED + 1, 60)) != first
    assert sum("+" in mutant.kind for mutant in longer) in range(3, 30)


@pytest.mark.skipif("MMPIPE_SWEEP" not in os.environ, reason="minutes: ./run sweep")
def test_a_thousand_mutants_and_the_real_files(
    tmp_path: Path, corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "media"
    num_files = len(mutants.write_mutants(root, mutants.make_seeds(), SEED, 1_000))
    shutil.copytree(corpora / "media_zoo", root / "zoo")
    num_files = len(list_corpus(root).files) + len(list_corpus(root).drops) + len(list_corpus(root).filtered)
    started = time.monotonic()
    config, report = take_in(tmp_path, decode=True)
    seconds = time.monotonic() - started
    codes = require_every_file_settled(config, report, num_files)
    worst, peak_mb = cost_of_each(root)
    used = sum(count.used for count in report.partitions)
    assert worst[0][0] < 60 and peak_mb < 2048
    with capsys.disabled():
        print(f"\n{num_files} files in {seconds:.0f} s: {used} good; {dict(codes.most_common())}")
        print(f"worst: {worst[:3]}; peak {peak_mb} MB")


def cost_of_each(root: Path) -> tuple[list[tuple[float, str]], int]:
    """Return the seconds that probing each file took, worst first, and the most memory in MB."""
    files = list_corpus(root).files
    batches = [files[start : start + PROBE_BATCH] for start in range(0, len(files), PROBE_BATCH)]
    arrays = make_config(root.parent, arrays={"suffixes": ["npy"], "rate_hz": 10}).corpora[CORPUS].arrays
    text = make_config(root.parent).corpora[CORPUS].text
    items = [
        WorkItem(
            name=str(number),
            payload=ProbeWork(root=root, files=tuple(batch), limits=LimitsConfig(), arrays=arrays, text=text),
            timeout_s=60,
        )
        for number, batch in enumerate(batches)
    ]
    worst: list[tuple[float, str]] = []
    peak_mb = 0
    with LocalEngine(2, 2 << 30, worker_setup="mmpipe.steps.workers.worker:set_up") as engine:
        for outcome in engine.run("mutant_worker:probe_timed", items):
            assert outcome.result and not outcome.poisoned, outcome
            told = json.loads(outcome.result)
            worst += [(cost_s, name) for name, (_, cost_s) in told["files"].items()]
            peak_mb = max(peak_mb, told["peak_mb"])
    return sorted(worst, reverse=True), peak_mb
