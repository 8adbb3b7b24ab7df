"""How fast it is, as a person asks for it: of a sample, and of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_maker import DT, tree, write_pairs
from typed_projects import Type, write_config

pytestmark = pytest.mark.usefixtures("warm_workers")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "media", ["one", "two", "three"])
    write_config(tmp_path)
    return tmp_path


def test_a_sample_is_benched_beside_its_ceilings(project: Path, mmpipe: Type) -> None:
    told = mmpipe(project, "bench", "extract")
    assert (told.code == 3 and "mmpipe ingest" in told.err) or "no store" in told.err
    assert mmpipe(project, "ingest", "--dt", DT).code == 0
    before = tree(project / "store")
    made = mmpipe(project, "bench", "extract", "--clips", "2", "--json").json()
    assert tree(project / "store") == before
    assert (made["device"], made["speed"]["clips"]) == ("cpu", 2)
    assert made["speed"]["decoder_ceiling"] > 0 and made["speed"]["encoder_ceiling"] > 0
    told = mmpipe(project, "bench", "extract", "--clips", "2", "--device", "cpu")
    assert told.code == 0 and "bare decoder" in told.out and "bottleneck" in told.out
    told = mmpipe(project, "bench", "extract", "--device", "tpu")
    assert told.code == 2 and "cuda:1" in told.err


def test_a_run_tells_its_speed_as_json(project: Path, mmpipe: Type) -> None:
    assert mmpipe(project, "run", "--dt", DT, "--dry-run", "--json").json()["due"]
    made = mmpipe(project, "run", "--dt", DT, "--json").json()
    assert made["extracted"]["computed"] == 6
    assert made["speed"]["clips"] == 3
    assert made["speed"]["no_ceiling"] == "measured in runs of 30 s and more"
    assert {row["feature"] for row in made["features"]} == {"audio-mfccseg@1", "text-ngrams@1"}
    assert mmpipe(project, "run", "--dt", DT, "--json").json()["due"] == []
    assert mmpipe(project, "extract", "--json").json()["due"] == 0
