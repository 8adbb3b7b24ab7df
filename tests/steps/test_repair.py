"""Damage a store in every place that has another source, repair it, and get the bytes of the undisturbed one."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, LATER, SOUND, TEXT, extract, ingest, make_config, tree, write_pairs

from mmpipe.config import Config
from mmpipe.errors import StoreError
from mmpipe.steps.ground.recommit import recommit
from mmpipe.steps.keep import remake as remake_module
from mmpipe.steps.keep.repair import repair_store
from mmpipe.steps.keep.verify import find_faults, open_to_verify
from mmpipe.steps.share.open import open_corpus
from mmpipe.store.audit import read_events
from mmpipe.store.card import write_card
from mmpipe.store.commit import commit_partition
from mmpipe.store.layout import CLIPS, StoreLayout, create_store, open_store
from mmpipe.store.revisions import read_head, read_manifest
from mmpipe.store.schema import read_schema
from mmpipe.store.snapshot import save_snapshot, take_snapshot
from mmpipe.store.spine import plan_spine, read_spine, write_spine

pytestmark = pytest.mark.usefixtures("warm_workers")
UNFINISHED = ("_staging", "_runs", "_leases")


def content(root: Path) -> dict[str, str]:
    """Return what is committed, by name."""
    return {name: digest for name, digest in tree(root).items() if name.split("/")[0] not in UNFINISHED}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, warm_workers: None) -> Iterator[Path]:
    """Make a corpus of two partitions and two shards, its store, and a snapshot."""
    folder = tmp_path_factory.mktemp("repair")
    config = make_config(folder, shard_clips=2)
    write_pairs(folder / "media", ["a", "b", "c"])
    ingest(config)
    extract(config)
    write_pairs(folder / "media", ["d"])
    ingest(config, LATER)
    extract(config)
    layout = StoreLayout(config.store)
    save_snapshot(layout, take_snapshot(layout, CORPUS, [SOUND, TEXT]))
    assert find_faults(layout) == ()
    yield folder


@pytest.fixture
def config(made: Path, tmp_path: Path) -> Config:
    """Return the config over a copy of the store; `cp -r` makes copies of the view's links."""
    shutil.copytree(made / "store", tmp_path / "store")
    config = make_config(made, shard_clips=2)
    return config.model_copy(update={"store": tmp_path / "store"})


def objects(config: Config, dataset: str, dt: str = DT) -> list[Path]:
    layout = StoreLayout(config.store).dataset(CORPUS, dataset)
    head = read_head(layout, dt)
    return [layout.object(file.sha256) for shard in head.shards for file in shard.files]


def damage(path: Path, how: str) -> None:
    path.chmod(0o644)
    data = path.read_bytes()
    path.unlink()
    for other in path.parents[2].glob("*/dt=*/*") if "objects" in path.parts else ():
        if hashlib.sha256(other.read_bytes()).hexdigest() == path.name:
            other.unlink()  # the view's: in a copy it has bytes of its own
    if how != "gone":
        path.write_bytes(data[: len(data) // 2] if how == "cut" else data[:-1] + bytes([data[-1] ^ 1]))


def repair(
    config: Config, copy: Path | None = None, dry_run: bool = False, accept_loss: bool = False
) -> list[tuple[str, str]]:
    layout = StoreLayout(config.store)
    steps = repair_store(config, layout, None, StoreLayout(copy) if copy else None, dry_run, accept_loss)
    return [(step.action, step.path) for step in steps]


@pytest.mark.parametrize("how", ["flip", "cut", "gone"])
def test_bad_shards_are_made_again_and_no_other(config, made, monkeypatch, how):
    asked = []
    monkeypatch.setattr(remake_module, "_extract", spy(remake_module._extract, asked))
    first, second = objects(config, SOUND)[0], objects(config, TEXT, LATER)[0]
    for path in (first, second):
        damage(path, how)
    repair(config)
    assert [(item.partition, item.shard, item.feature) for item in asked] == [(DT, 0, SOUND), (LATER, 0, TEXT)]
    assert find_faults(StoreLayout(config.store)) == ()
    assert content(config.store) == content(made / "store")
    aside = [path.name for path in (config.store / "_staging" / "damaged").rglob("*") if path.is_file()]
    assert sorted(aside) == sorted(() if how == "gone" else (first.name, second.name))


def spy(function, asked):
    def extract_and_note(config, layout, corpus, feature, shards, foreseen):
        asked.extend(shards)
        return function(config, layout, corpus, feature, shards, foreseen)

    return extract_and_note


@pytest.mark.parametrize("feature", [SOUND, TEXT])
def test_a_bad_head_is_set_aside_and_comes_out_the_same(config, made, feature):
    head = sorted((config.store / CORPUS / feature / "_meta" / f"dt={DT}").glob("*.json"))[-1]
    damage(head, "cut")
    assert ("set aside", str(head.relative_to(config.store))) in repair(config)
    assert find_faults(StoreLayout(config.store)) == ()
    assert content(config.store) == content(made / "store")


def test_views_cards_and_format_are_healed(config, made):
    (config.store / "format.json").write_bytes(b"{")
    (config.store / CORPUS / SOUND / "README.md").unlink()
    view = next((config.store / CORPUS / SOUND / "data").glob("*/*"))
    view.unlink()
    (view.parent / "stray.tmp").write_bytes(b"")
    repair(config)
    assert find_faults(StoreLayout(config.store)) == ()
    assert content(config.store) == content(made / "store")


def test_what_has_no_other_source_comes_back_from_a_copy(config, made):
    victims = [
        objects(config, CLIPS)[0],
        objects(config, "assets")[0],
        config.store / CORPUS / CLIPS / "_meta" / f"dt={DT}" / "000001.json",
        config.store / CORPUS / SOUND / "schema.json",
        next((config.store / "snapshots").glob("*.json")),
    ]
    for path in victims:
        damage(path, "cut")
    done = repair(config, made / "store")
    restored = [path for action, path in done if action == "restored"]
    assert sorted(restored) == sorted(str(path.relative_to(config.store)) for path in victims)
    assert "/_meta/" in restored[-1]  # objects first: a manifest never names what is not there
    assert find_faults(StoreLayout(config.store)) == ()
    assert content(config.store) == content(made / "store")
    assert victims[0].stat().st_mode & 0o777 == 0o444


def test_a_copy_that_is_damaged_itself_is_not_taken(config, made, tmp_path):
    shutil.copytree(made / "store", tmp_path / "copy")
    victim = objects(config, CLIPS)[0]
    damage(tmp_path / "copy" / victim.relative_to(config.store), "cut")
    damage(victim, "flip")
    assert ("left", str(victim.relative_to(config.store))) in repair(config, tmp_path / "copy")
    assert "object_damaged" in {finding.code for finding in find_faults(StoreLayout(config.store))}
    assert victim.is_file()  # the spine is never set aside for nothing


def test_what_a_view_still_shows_comes_back_from_there(config, made):
    """In a copied store the view's files are no links; the spine has no other source."""
    for victim, data in ((objects(config, CLIPS)[0], b"cut"), (objects(config, SOUND)[0], None)):
        victim.unlink()
        if data:
            victim.write_bytes(data)
    assert [action for action, _ in repair(config)][:2] == ["restored", "restored"]
    assert content(config.store) == content(made / "store")
    assert find_faults(StoreLayout(config.store)) == ()


def test_without_the_raw_files_the_shard_is_left_due_and_it_says_so(config, tmp_path):
    corpus = config.corpora[CORPUS].model_copy(update={"root": tmp_path / "nowhere"})
    elsewhere = config.model_copy(update={"corpora": {CORPUS: corpus}})
    damage(objects(config, SOUND)[0], "gone")
    actions = {action for action, _ in repair(elsewhere)}
    assert "left" in actions and "made" not in actions
    assert "object_missing" in {finding.code for finding in find_faults(StoreLayout(config.store))}
    repair(config)
    assert find_faults(StoreLayout(config.store)) == ()


@pytest.mark.parametrize(
    ("where", "from_copy", "said"),
    [
        ((SOUND, TEXT), False, {"set aside", "made", "healed"}),
        ((SOUND, CLIPS), True, {"restored", "healed"}),
        ((SOUND, CLIPS), False, {"set aside", "left", "healed"}),  # nothing is made where the spine is cut
        ((SOUND, "a view"), False, {"restored", "healed"}),
        ((SOUND, "no raw files"), False, {"set aside", "left", "healed"}),
    ],
)
def test_a_dry_run_says_what_the_real_one_does_and_changes_nothing(config, made, tmp_path, where, from_copy, said):
    if "a view" in where:
        path = objects(config, SOUND)[0]
        path.chmod(0o644)
        path.write_bytes(b"cut")
    else:
        for dataset in where[: len(where) - ("no raw files" in where)]:
            damage(objects(config, dataset)[0], "cut")
    if "no raw files" in where:
        corpus = config.corpora[CORPUS].model_copy(update={"root": tmp_path / "nowhere"})
        config = config.model_copy(update={"corpora": {CORPUS: corpus}})
    before = tree(config.store)
    copy = made / "store" if from_copy else None
    foreseen = repair(config, copy, dry_run=True)
    assert {action for action, _ in foreseen} == said
    assert tree(config.store) == before
    assert repair(config, copy) == foreseen


def test_a_store_that_lost_its_format_is_told_so_and_gets_it_back(config):
    path = config.store / "format.json"
    before = path.read_bytes()
    path.unlink()
    for use in (ingest, extract, lambda config: open_store(config.store), lambda config: create_store(config.store)):
        with pytest.raises(StoreError, match=r"format_damaged: .* is gone\. `mmpipe verify --repair` writes it again"):
            use(config)
    for place in (config.store, config.store / CORPUS):
        with pytest.raises(StoreError, match="format_damaged"):
            open_corpus(place)
    assert not path.exists()
    assert [finding.code for finding in find_faults(open_to_verify(config))] == ["format_damaged"]
    assert repair(config, dry_run=True)[0] == repair(config)[0] == ("healed", "format.json")
    assert path.read_bytes() == before and find_faults(StoreLayout(config.store)) == ()


def test_a_flipped_bit_of_what_explains_a_fingerprint_is_found_and_set_aside(config, made):
    (path,) = (config.store / CORPUS / SOUND / "_meta" / "fingerprints").glob("*.json")
    data = path.read_bytes()
    path.chmod(0o644)
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        if position % 20 == 0:
            assert "fingerprint_damaged" in {finding.code for finding in find_faults(StoreLayout(config.store))}
    assert ("restored", str(path.relative_to(config.store))) in repair(config, made / "store")
    path.unlink()
    path.write_bytes(b"{")
    assert ("set aside", str(path.relative_to(config.store))) in repair(config)
    assert find_faults(StoreLayout(config.store)) == ()
    assert content(config.store) == content(made / "store")


# --------------------------------------------------------------------------- a newest manifest that is gone


def lose_head(config: Config, dataset: str, dt: str = DT) -> str:
    """Delete the newest manifest and the snapshot that pins it; return its name in the store."""
    path = sorted((config.store / CORPUS / dataset / "_meta" / f"dt={dt}").glob("*.json"))[-1]
    path.unlink()
    return str(path.relative_to(config.store))


def drop_snapshots(config: Config) -> None:
    for path in (config.store / "snapshots").glob("*.json"):
        path.unlink()


def lost(config: Config) -> list[str]:
    found = find_faults(StoreLayout(config.store))
    return [finding.path for finding in found if finding.code == "manifest_missing"]


@pytest.mark.parametrize("dataset", [SOUND, TEXT, "assets"])
@pytest.mark.parametrize("pinned", [True, False])
def test_a_lost_revision_is_made_again_from_what_it_left(config, made, monkeypatch, dataset, pinned):
    monkeypatch.setattr(remake_module, "_extract", None)  # nothing is computed
    if not pinned:
        drop_snapshots(config)
    before = content(config.store)
    assert lose_head(config, dataset) in lost(config)
    assert repair(config, dry_run=True)[0] == ("made", f"{CORPUS}/{dataset} dt={DT}")
    assert ("made", f"{CORPUS}/{dataset} dt={DT}") in repair(config)
    assert find_faults(StoreLayout(config.store)) == ()
    assert content(config.store) == before


def test_a_lost_revision_of_the_spine_comes_from_a_copy_or_not_at_all(config, made):
    drop_snapshots(config)
    before = content(config.store)
    name = lose_head(config, CLIPS)
    assert lost(config) == [name]
    without = content(config.store)
    assert ("left", f"{CORPUS}/{CLIPS} dt={DT}") in repair(config)
    foreseen = repair(config, made / "store", dry_run=True)
    assert content(config.store) == without  # the view is all that tells of it
    assert ("restored", name) in foreseen and repair(config, made / "store") == foreseen
    assert find_faults(StoreLayout(config.store)) == ()
    assert content(config.store) == before


def test_a_lost_correction_of_the_spine_is_made_again_where_a_snapshot_proves_it(config):
    layout = StoreLayout(config.store)
    frame = read_spine(layout, CORPUS, [DT]).drop("partition")
    plan = plan_spine(frame, [], shard_clips=2, superseded=[frame["asset_id"][0]])
    assert write_spine(layout.dataset(CORPUS, CLIPS), DT, plan).revision == 2
    save_snapshot(layout, take_snapshot(layout, CORPUS, [SOUND]))
    before = content(config.store)
    assert lost(config) == []
    assert lose_head(config, CLIPS) in lost(config)
    assert ("made", f"{CORPUS}/{CLIPS} dt={DT}") in repair(config)
    assert content(config.store) == before


def test_a_lost_revision_is_given_up_only_by_hand_and_the_log_says_so(config, made):
    drop_snapshots(config)
    name = lose_head(config, CLIPS)
    shown = [path.read_bytes() for path in sorted((config.store / CORPUS / CLIPS / "data" / f"dt={DT}").iterdir())]
    assert ("given up", f"{CORPUS}/{CLIPS} dt={DT}") in repair(config, accept_loss=True)
    assert lost(config) == []
    (event,) = read_events(StoreLayout(config.store))
    assert (event.kind, event.subject) == ("accept-loss", f"{CORPUS}/{CLIPS} dt={DT}")
    aside = config.store / "_staging" / "damaged" / CORPUS / CLIPS / "data" / f"dt={DT}"
    assert [path.read_bytes() for path in sorted(aside.iterdir())] == shown
    ingest(config)
    extract(config)
    repair(config)  # the card was made without the partition
    assert find_faults(StoreLayout(config.store)) == ()
    there = content(config.store)
    assert there[name] == content(made / "store")[name]


def test_a_revision_that_only_the_card_knows_is_made_again(config):
    """It dropped a shard: the view shows nothing that the revision before has not."""
    layout = StoreLayout(config.store)
    dataset = layout.dataset(CORPUS, SOUND)
    head = read_head(dataset, DT)
    recommit(dataset, head, {0: head.shards[0]})
    before = content(config.store)
    name = lose_head(config, SOUND)
    assert lost(config) == [name]
    assert ("made", f"{CORPUS}/{SOUND} dt={DT}") in repair(config)
    assert content(config.store) == before


def test_what_a_copy_has_instead_is_not_taken_where_the_view_shows_other_bytes(config, made, tmp_path):
    drop_snapshots(config)
    name = lose_head(config, CLIPS)
    shutil.copytree(made / "store", tmp_path / "copy")
    copy = StoreLayout(tmp_path / "copy").dataset(CORPUS, CLIPS)
    head = read_head(copy, DT)
    (tmp_path / "copy" / name).unlink()
    commit_partition(copy, DT, schema=head.schema, fingerprint="", shards={0: head.shards[0]})
    assert ("left", f"{CORPUS}/{CLIPS} dt={DT}") in repair(config, tmp_path / "copy")
    assert lost(config) == [name]


def test_a_bad_head_that_cannot_be_made_again_keeps_its_view(config, tmp_path):
    corpus = config.corpora[CORPUS].model_copy(update={"root": tmp_path / "nowhere"})
    elsewhere = config.model_copy(update={"corpora": {CORPUS: corpus}})
    name = lose_head(config, SOUND)
    (config.store / name).write_bytes(b"{")
    view = content(config.store / CORPUS / SOUND / "data")
    repair(elsewhere)
    assert lost(config) == [name]
    assert content(config.store / CORPUS / SOUND / "data") == view
    assert ("made", f"{CORPUS}/{SOUND} dt={DT}") in repair(elsewhere)  # from the view: no raw file is needed
    assert find_faults(StoreLayout(config.store)) == ()


# --------------------------------------------------------------------------- what is told of whole bytes


@pytest.mark.parametrize("feature", [SOUND, TEXT])
def test_forged_statistics_are_counted_again_in_a_revision_of_their_own(config, made, monkeypatch, feature):
    monkeypatch.setattr(remake_module, "_extract", None)  # nothing is computed
    dataset = StoreLayout(config.store).dataset(CORPUS, feature)
    head = read_head(dataset, DT)
    forged = replace(head.shards[1], statistics=replace(head.shards[1].statistics, norm_max=1e9, num_zero=1))
    lie = recommit(dataset, head, {0: head.shards[0], 1: forged})
    assert {finding.code for finding in find_faults(StoreLayout(config.store))} >= {"statistics_mismatch"}
    place = ("made", f"{CORPUS}/{feature} dt={DT}")
    assert place in repair(config, dry_run=True)
    assert read_head(dataset, DT) == lie
    assert place in repair(config)
    truth = read_head(dataset, DT)
    assert (truth.revision, truth.shards) == (lie.revision + 1, head.shards)
    assert read_manifest(dataset, DT, lie.revision) == lie  # what was committed stays
    assert find_faults(StoreLayout(config.store)) == ()


def test_the_card_names_the_extractor_again_once_its_note_is_mended(config, made):
    """The card that a commit wrote while the note was damaged says nothing of the extractor."""
    dataset = StoreLayout(config.store).dataset(CORPUS, SOUND)
    (note,) = (dataset.root / "_meta" / "fingerprints").glob("*.json")
    note.unlink()
    note.write_bytes(b"{")
    write_card(dataset, read_schema(dataset))
    card = dataset.root / "README.md"
    whole = (made / "store" / card.relative_to(config.store)).read_bytes()
    assert card.read_bytes() != whole
    repair(config)
    assert card.read_bytes() == whole
    assert find_faults(StoreLayout(config.store)) == ()
