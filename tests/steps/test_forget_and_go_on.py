"""After a forget the store goes on: what is due is made, what is damaged is repaired, small shards are packed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, LATER, SOUND, TEXT, config_table, extract, ingest, make_config, values, write_pairs

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config, parse_config
from mmpipe.steps.keep.compact import compact_corpus
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.keep.repair import repair_store
from mmpipe.steps.plan.plan import plan_corpus, read_states
from mmpipe.store.layout import CLIPS, StoreLayout
from mmpipe.store.revisions import read_head
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("warm_workers")

NAMES = ("amber", "birch", "cedar", "doves")
GONE = "birch"  # in the middle of its shard
LOGMEL = "audio-logmel@1"
Change = Callable[[Path, Config], Config]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, warm_workers: None) -> Path:
    """Make a corpus of shards of 3 and 1 clips, of at most three, once for all tests."""
    tmp_path = tmp_path_factory.mktemp("made")
    write_pairs(tmp_path / "media", NAMES)
    config = make_config(tmp_path, shard_clips=3)
    ingest(config)
    extract(config)
    return tmp_path


@pytest.fixture
def pair(made: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return two copies of that corpus: one for a forget, one that stays undisturbed."""
    for name in ("forgets", "undisturbed"):
        shutil.copytree(made, tmp_path / name)
    return tmp_path / "forgets", tmp_path / "undisturbed"


def changed_parameter(folder: Path, config: Config) -> Config:
    table = config_table(folder, shard_clips=3)
    return parse_config(table | {"features": {"audio-mfccseg": {"num_mels": 40}}})


def lost_object(folder: Path, config: Config) -> Config:
    """Delete an object and what shows it; nothing but the raw files has its values then."""
    dataset = StoreLayout(config.store).dataset(CORPUS, SOUND)
    head = read_head(dataset, DT)
    assert head is not None
    file = head.shards[0].files[0]
    dataset.object(file.sha256).unlink()
    (dataset.data(DT) / file.name).unlink()
    assert not [step for step in repair_store(config, StoreLayout(config.store)) if step.action == "left"]
    return config


def new_feature(folder: Path, config: Config) -> Config:
    return make_config(folder, shard_clips=3, features=["audio-mfccseg", "text-ngrams", "audio-logmel"])


def late_data(folder: Path, config: Config) -> Config:
    write_pairs(folder / "media", ["later", "latest"])
    ingest(config)
    write_pairs(folder / "media", ["tomorrow"])
    ingest(config, LATER)
    return config


def go_on(folder: Path, change: Change) -> Config:
    config = change(folder, make_config(folder, shard_clips=3))
    ingest(config, LATER)
    extract(config)
    assert plan_corpus(config, CORPUS).is_empty
    assert {state.state for state in read_states(config, CORPUS)} == {"complete"}
    return config


def all_values(config: Config) -> dict[tuple[str, str], bytes]:
    """Return the values of all features, also of the one that is new."""
    layout = StoreLayout(config.store)
    found = values(config)
    if LOGMEL in layout.feature_names(CORPUS):
        reader = AlignedReader(layout, take_snapshot(layout, CORPUS, (LOGMEL,)), (LOGMEL,))
        for row, key in enumerate(reader.spine["key"]):
            found[key, LOGMEL] = reader.gather([row]).features[LOGMEL].x_BTD.tobytes()
    return found


@pytest.mark.parametrize("change", [changed_parameter, lost_object, new_feature, late_data])
def test_after_a_forget_everything_can_still_be_made(pair, change):
    """The values of the others are those of a store where nothing was forgotten, also when it is packed then."""
    folder, beside = pair
    forget(make_config(folder, shard_clips=3), CORPUS, GONE, "asked for")
    config, undisturbed = go_on(folder, change), go_on(beside, change)
    layout, there = StoreLayout(config.store), all_values(undisturbed)
    spine = read_spine(StoreLayout(undisturbed.store), CORPUS)
    gone = set(spine.filter(spine["source_id"] == GONE)["key"])
    wanted = {place: value for place, value in there.items() if place[0] not in gone}
    assert all_values(config) == wanted and len(gone) == 1 and len(wanted) < len(there)
    assert verify_store(layout) == ()
    (repack,) = [each for each in compact_corpus(config, CORPUS, below=3).repacks if each.partition == DT]
    assert not repack.blocked
    assert all_values(config) == wanted
    assert verify_store(layout) == () and plan_corpus(config, CORPUS).is_empty


def test_what_was_never_extracted_is_after_a_forget(tmp_path):
    """The forget comes between the taking in and the first extraction."""
    write_pairs(tmp_path / "media", NAMES)
    config = make_config(tmp_path, shard_clips=3)
    ingest(config)
    forget(config, CORPUS, GONE, "asked for")
    extract(config)
    layout = StoreLayout(config.store)
    head = read_head(layout.dataset(CORPUS, CLIPS), DT)
    assert head is not None and [shard.samples for shard in head.shards] == [2, 1]
    assert len(values(config)) == 2 * (len(NAMES) - 1)
    assert {name for _, name in values(config)} == {SOUND, TEXT}
    assert verify_store(layout) == () and plan_corpus(config, CORPUS).is_empty
