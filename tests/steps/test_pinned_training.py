"""A model on a snapshot: it learns from that and nothing later, its release names it, and gc leaves both whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
from kill_corpus import CORPUS, write_sound, write_words
from kill_models import MODEL

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.registry.aliases import find_version
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.keep.gc import collect_garbage, file_system_time
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.release.promotion import promote_version, roll_back
from mmpipe.steps.release.release import release_model, release_reason
from mmpipe.steps.train.snapshots import create_snapshot, drop_snapshot
from mmpipe.steps.train.train import current_recipe, is_trained, newest_checkpoint
from mmpipe.steps.train.training_set import open_training_set, pin_snapshot
from mmpipe.store.audit import read_events
from mmpipe.store.layout import open_store
from mmpipe.store.snapshot import load_snapshot
from mmpipe.store.verify import verify_store

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")


def grown(config: Config, folder) -> Config:
    """Return the config over a corpus of one clip more, a night later, taken in."""
    root = folder / "media"
    root.mkdir()
    write_sound(root / "clip-90.wav", 700)
    write_words(root / "clip-90.txt", "warm words")
    labels = folder / "labels.jsonl"
    labels.write_text(json.dumps({"id": "clip-90", "who": "ax", "room": "room-90"}) + "\n")
    source = config.corpora[CORPUS]
    source = source.model_copy(update={"root": root, "labels": source.labels.model_copy(update={"file": labels})})
    config = config.model_copy(update={"corpora": {CORPUS: source}})
    ingest_corpus(config, CORPUS, "2026-11-21")
    extract_plan(config, plan_corpus(config, CORPUS))
    return config


def test_a_night_later_the_model_still_learns_from_its_snapshot(winning, tmp_path):
    config = winning.place(winning.before_release, tmp_path)
    layout = open_store(config.store)
    made = create_snapshot(config, "paper", CORPUS, ["audio-mfccseg", "text-ngrams"])
    assert made.held_by == (f"checkpoint {winning.trained.checkpoint}",)
    before = open_training_set(config, config.models[MODEL])
    config = grown(config, tmp_path)
    pinned = pin_snapshot(config, MODEL, "paper")
    assert current_recipe(config, MODEL) != current_recipe(pinned, MODEL)
    assert current_recipe(pinned, MODEL) == current_recipe(pin_snapshot(config, MODEL, made.snapshot), MODEL)
    assert newest_checkpoint(pinned, MODEL) == winning.trained.checkpoint
    assert is_trained(pinned, MODEL) and not is_trained(config, MODEL)
    data = open_training_set(pinned, pinned.models[MODEL])
    assert (data.keys, data.splits, data.classes) == (before.keys, before.splits, before.classes)
    assert np.array_equal(data.targets_N, before.targets_N)

    released = release_model(pinned, MODEL, winning.trained.checkpoint)
    lineage = json.loads(find_version(layout.models, MODEL, released.version).read("lineage.json"))
    assert (lineage["snapshot"], lineage["snapshot_named"]) == (made.snapshot, "paper")
    assert release_reason(pinned, MODEL) == "" != release_reason(config, MODEL)
    kinds = [event.kind for event in read_events(layout)]
    assert kinds == ["snapshot-create", "nominate", "promote"]

    holders = drop_snapshot(config, "paper", "the release holds it").held_by
    assert holders == (f"checkpoint {winning.trained.checkpoint}", f"release {MODEL}@{released.version}")
    collect_garbage(config, days=0, delete=True, clock=lambda layout: file_system_time(layout) + 3e6)
    assert load_snapshot(layout, made.snapshot).digest == made.snapshot
    assert newest_checkpoint(pin_snapshot(config, MODEL, made.snapshot), MODEL) == winning.trained.checkpoint
    assert not verify_store(layout)


def test_moves_of_a_model_are_in_the_audit_log(winning, tmp_path):
    config = winning.place(winning.before_release, tmp_path, promote=False)
    layout = open_store(config.store)
    released = release_model(config, MODEL, winning.trained.checkpoint)
    promote_version(layout, MODEL, released.offered_version, why="it is good")
    promote_version(layout, MODEL, released.offered_version, why="it is there already")
    with pytest.raises(ConfigError, match="no previous version"):
        roll_back(layout, MODEL, why="it is bad")
    assert [(event.kind, event.reason) for event in read_events(layout)][1:] == [("promote", "it is good")]


def test_a_snapshot_that_does_not_fit_the_model_is_refused(winning, tmp_path):
    config = winning.place(winning.before_release, tmp_path)
    create_snapshot(config, "half", CORPUS, ["audio-mfccseg"])
    with pytest.raises(ConfigError, match=r"the snapshot 'half' is of 'talk' with \['audio-mfccseg@1'\]; the model"):
        current_recipe(pin_snapshot(config, MODEL, "half"), MODEL)
    create_snapshot(config, "whole", CORPUS)
    other = config.model_copy(update={"features": {"text-ngrams": {"dim": 256}}})
    with pytest.raises(ConfigError, match="made with other parameters"):
        current_recipe(pin_snapshot(other, MODEL, "whole"), MODEL)
    with pytest.raises(ConfigError, match="no snapshot is named 'nobody'"):
        current_recipe(pin_snapshot(config, MODEL, "nobody"), MODEL)
