from __future__ import annotations

from dataclasses import replace

import pytest

from mmpipe.errors import StoreError
from mmpipe.store.assets import assets_of, read_assets, write_assets
from mmpipe.store.layout import ASSETS, create_store
from mmpipe.types import Asset, Cue, Modality, Stream

DAY = "2026-11-20"


@pytest.fixture
def store(fast_path):
    return create_store(fast_path / "store")


def stream(role: str, **other) -> Stream:
    fields = {
        "role": role,
        "modality": Modality(role.split(".")[0]),
        "digest": f"digest of {role}",
        "file": "take 1.mp4",
        "file_sha256": "f" * 64,
        "file_nbytes": 2**40,
        "track": 1,
        "start_ns": -5,
        "duration_ns": 10**12,
        "codec": "h264",
        "width_px": 64,
        "frame_rate": 29.97,
    }
    return Stream(**fields | other)


def asset(name: str, *, cues: tuple[Cue, ...] = (), roles: tuple[str, ...] = ("audio", "text", "video")) -> Asset:
    return Asset(asset_id=f"id of {name}", source_id=name, streams=tuple(map(stream, roles)), cues=cues)


CUES = (Cue(start_ns=0, end_ns=5, text='ein "Wort"\n'), Cue(start_ns=5, end_ns=9, text=""))


def test_assets_come_back_as_they_were(store):
    written = (asset("a", cues=CUES), asset("b", roles=("audio", "audio.1")), asset("c", roles=("image",)))
    write_assets(store.dataset("talk", ASSETS), DAY, reversed(written))
    frame = read_assets(store, "talk")
    assert frame.height == 6
    assert assets_of(frame) == written


def test_later_assets_join_and_known_ones_are_brought_up_to_date(store):
    dataset = store.dataset("talk", ASSETS)
    write_assets(dataset, DAY, [asset("a"), asset("b")])
    moved = replace(asset("b"), source_id="moved", streams=(stream("audio", file="moved.wav"),))
    head = write_assets(dataset, DAY, [moved, asset("c")])
    assert head.revision == 2
    assert assets_of(read_assets(store, "talk")) == (asset("a"), asset("c"), moved)
    assert write_assets(dataset, DAY, [asset("c")]) == head


def test_an_asset_in_two_partitions_is_two(store):
    for day in ("2026-11-20", "2026-11-21"):
        write_assets(store.dataset("talk", ASSETS), day, [asset("a")])
    assert assets_of(read_assets(store, "talk")) == (asset("a"), asset("a"))
    assert assets_of(read_assets(store, "talk", ["2026-11-21"])) == (asset("a"),)


def test_the_order_they_came_in_does_not_show(store, fast_path, tree_digest):
    other = create_store(fast_path / "other")
    for layout, step in ((store, 1), (other, -1)):
        write_assets(layout.dataset("talk", ASSETS), DAY, [asset("b"), asset("a", cues=CUES), asset("c")][::step])
    assert tree_digest(store.root) == tree_digest(other.root)


def test_twins_and_cues_without_a_text_are_refused(store):
    dataset = store.dataset("talk", ASSETS)
    with pytest.raises(StoreError, match=r"comes twice, as \['a', 'twin'\]"):
        write_assets(dataset, DAY, [asset("a"), replace(asset("a"), source_id="twin")])
    with pytest.raises(StoreError, match="no text stream"):
        write_assets(dataset, DAY, [asset("a", cues=CUES, roles=("audio",))])


def test_no_assets_no_rows(store):
    write_assets(store.dataset("talk", ASSETS), DAY, [])
    assert assets_of(read_assets(store, "talk")) == ()
    assert assets_of(read_assets(store, "nobody")) == ()
