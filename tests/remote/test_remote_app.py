"""The app over a store in a bucket: every page comes."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from mmpipe.app.access import Access
from mmpipe.app.routes import make_app
from mmpipe.config import parse_config
from mmpipe.registry.aliases import promote
from mmpipe.registry.versions import publish_version
from mmpipe.steps.app.store_site import StoreSite
from mmpipe.store.sample import SampleFeature, make_sample_store
from mmpipe.store.snapshot import save_snapshot, take_snapshot
from mmpipe.types import FeatureKind, FeatureSchema, Modality

TOY = SampleFeature(
    schema=FeatureSchema(feature="audio-toy@1", modality=Modality.AUDIO, kind=FeatureKind.SEQUENCE, dim=3), max_steps=5
)


def test_every_page_of_a_store_in_a_bucket_comes(s3_root: Path) -> None:
    layout = make_sample_store(s3_root, (TOY,), shards=1)
    publish_version(layout.models, "toy", {"verdict.json": b"{}"}, status="candidate", recipe_digest="1")
    promote(layout.models, "toy", "1", why="good", who="me")
    digest = save_snapshot(layout, take_snapshot(layout, "sample", ("audio-toy@1",))).stem
    config = parse_config({"store": str(s3_root), "corpora": {"sample": {"root": ".", "features": []}}})
    base = "/corpora/sample"
    with StoreSite(lambda: config.model_copy(update={"store": s3_root})) as site:
        client = TestClient(make_app(site, Access()), base_url="http://localhost")
        clip = client.get(f"{base}/samples?format=json").json()["clips"][0]
        place = f"{clip['key']}?dt={clip['dt']}"
        value = f"{base}/values/{clip['key']}/audio-toy@1.png?dt={clip['dt']}"
        pages = ["/", base, f"{base}/samples", f"{base}/clips/{place}", f"{base}/quarantine", f"{base}/datasets"]
        pages += [f"{base}/datasets/audio-toy@1", "/models", "/models/toy/production", f"/snapshots/{digest}"]
        found = {page: client.get(page).status_code for page in (*pages, "/snapshots", "/runs", value)}
        named = client.get(f"{base}/clips/{clip['source_id']}")
    assert set(found.values()) == {200}, found
    assert named.status_code == 200, "also without a date"


@pytest.mark.parametrize("address", ["/", "/models", "/runs"])
def test_a_bucket_without_a_store_says_so(s3_root: Path, address: str) -> None:
    config = parse_config({}).model_copy(update={"store": s3_root})
    with StoreSite(lambda: config) as site:
        client = TestClient(make_app(site, Access()), base_url="http://localhost")
        assert client.get(address).status_code == 200
