"""The verbs on the life of a store, as a person types them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typed_projects import AUDIO, Type, write_sample_project

from mmpipe.registry.taint import mark_version
from mmpipe.registry.versions import publish_version
from mmpipe.store.audit import read_events
from mmpipe.store.layout import StoreLayout
from mmpipe.store.sample import SampleFeature
from mmpipe.store.verify import verify_store
from mmpipe.types import FeatureKind, FeatureSchema, Modality

PICTURE = SampleFeature(
    schema=FeatureSchema(feature="image-toy@1", modality=Modality.VIDEO, kind=FeatureKind.VECTOR, dim=4)
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_sample_project(tmp_path, AUDIO, PICTURE)


def test_a_source_is_forgotten(project: Path, mmpipe: Type) -> None:
    layout = StoreLayout(project / "store")
    name = "2026-11-20/000005"
    assert mmpipe(project, "snapshot", "create", "before").code == 0
    told = mmpipe(project, "forget", name, "--reason", "asked for", "--dry-run", "--json").json()
    assert told["dry_run"] and told["clips"] == 1
    assert "snapshot" in {place["what"] for place in told["holdings"]}
    told = mmpipe(project, "forget", name, "--reason", "asked for")
    assert told.code == 0 and "made again" in told.out
    assert "forgotten before" in mmpipe(project, "forget", name, "--reason", "asked for").out
    assert verify_store(layout) == ()
    told = mmpipe(project, "verify")
    assert told.code == 0 and "redacted: snapshot" in told.out
    assert [event.kind for event in read_events(layout)] == ["snapshot-create", "forget"]
    assert name not in (layout.audit / "000002.json").read_text()
    assert "something was forgotten" in mmpipe(project, "snapshot", "show", "before").out.replace("\n", " ")
    refused = mmpipe(project, "forget", "nobody", "--reason", "asked for")
    assert refused.code == 3 and "no source 'nobody'" in refused.err


def test_full_shards_are_not_repacked(project: Path, mmpipe: Type) -> None:
    assert mmpipe(project, "compact", "--below", "2", "--json").json() == []
    assert "nothing to pack: no shard is smaller" in mmpipe(project, "compact", "--below", "2", "--dry-run").out


def test_a_tainted_version_says_so(project: Path, mmpipe: Type) -> None:
    models = StoreLayout(project / "store").models
    files = dict.fromkeys(("lineage.json", "verdict.json", "metrics.json"), b"{}") | {"README.md": b"a card"}
    version = publish_version(models, "genre", files, status="candidate", recipe_digest="r")
    assert "tainted:" not in mmpipe(project, "models", "show", "genre").out
    mark_version(models, "genre", version.label, ("digest",), "asked for")
    mark_version(models, "genre", version.label, ("another",), "asked for")
    assert "trained on 2 assets that were forgotten" in mmpipe(project, "models", "show", "genre").out.replace(
        "\n", " "
    )
    (row,) = mmpipe(project, "models", "ls", "--json").json()
    assert row["tainted"]
