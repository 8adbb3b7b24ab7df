"""What is asked goes through the release as its training did, and finds what a plain product finds."""

from __future__ import annotations

import json
import shutil
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from kill_corpus import CORPUS, DT
from search_project import MODEL, SOUND, TEXT, WORDS, Project

from mmpipe.config import SpeechModelConfig, TextConfig
from mmpipe.errors import ConfigError, GateRefused, TransientError
from mmpipe.registry.versions import list_versions, publish_version
from mmpipe.search.index import index_faults, list_indexes, open_index
from mmpipe.steps.ask.predict import predict_files
from mmpipe.steps.ask.settings import CORPUS as ASKED
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.keep.gc import collect_garbage, file_system_time
from mmpipe.steps.keep.repair import repair_store
from mmpipe.steps.keep.verify import find_faults
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.search.check import CheckedMeasure, CheckReport, check_search
from mmpipe.steps.search.find import find_clips
from mmpipe.steps.search.query import Query, _whole, embed_query
from mmpipe.steps.search.search import SearchReport, search_clips
from mmpipe.steps.search.space import open_space
from mmpipe.store.layout import StoreLayout
from mmpipe.store.lease import Lease
from mmpipe.store.spine import read_spine
from mmpipe.types import Split

pytestmark = pytest.mark.usefixtures("warm_workers")
FIRST = f"{MODEL}@1"


def keys(report: SearchReport) -> list[str]:
    return [one.key for one in report.found]


def key_of(project: Project, source: str) -> str:
    spine = read_spine(StoreLayout(project.config().store), CORPUS)
    return str(spine.filter(pl.col("source_id") == source)["key"].item())


def index_of(project: Project, view: str) -> Path:
    (folder,) = [
        path
        for path in list_indexes(StoreLayout(project.config().store).indexes)
        if json.loads((path / "manifest.json").read_bytes())["view"] == view
    ]
    return folder


# --------------------------------------------------------------------------- what is found


def test_a_file_is_embedded_as_predict_does_and_finds_the_nearest_of_all(project: Project) -> None:
    config, file = project.config(), project.folder / "media" / "clip-05.wav"
    found = search_clips(config, FIRST, Query(audio=file), "text", count=7)
    (answer,) = predict_files(config, [file], FIRST).answers
    index = open_index(index_of(project, f"{TEXT}@1"))
    scores = index.vectors_ND.astype(np.float64) @ np.array(cast(dict[str, Any], answer.said["vectors"])["query"])
    wanted = sorted(zip(-np.round(scores, 6), index.keys_N.tolist(), strict=True))[:7]
    assert keys(found) == [key.decode() for _, key in wanted]
    np.testing.assert_allclose([one.score for one in found.found], [-score for score, _ in wanted], atol=2e-6)
    assert (found.how, found.clips, found.asked_by, found.among) == ("exact", 40, f"{SOUND}@1", f"{TEXT}@1")
    best = found.found[0]
    assert best.rank == 1 and best.text.startswith("a thing of") and best.labels["what"] in WORDS
    assert best.file == str(project.folder / "media" / f"{best.source}.txt") and best.partition == DT
    assert best.asked.source == "clip-05" and found.table()[0]["labels"] == f"what={best.labels['what']}"


def test_a_text_and_a_clip_of_the_store_ask_as_well_as_a_file(project: Project) -> None:
    config = project.config()
    by_text = search_clips(config, FIRST, Query(text="a thing of ice 5"), "audio", count=5)
    by_file = search_clips(config, FIRST, Query(audio=project.folder / "media" / "clip-05.wav"), "text", count=5)
    by_clip = search_clips(config, FIRST, Query(clip=key_of(project, "clip-05")), "text", count=5)
    assert keys(by_clip) == keys(by_file)
    np.testing.assert_allclose([a.score for a in by_clip.found], [b.score for b in by_file.found], atol=2e-6)
    stored = search_clips(config, FIRST, Query(clip=key_of(project, "clip-05")), SOUND, count=5)
    assert stored.asked_by == f"{TEXT}@1" and keys(stored) == keys(by_text)  # its own words are those that were typed


def test_what_is_like_it_in_its_own_modality_leaves_the_clip_itself_out(project: Project) -> None:
    file = project.folder / "media" / "clip-05.wav"
    found = search_clips(project.config(), FIRST, Query(audio=file), "audio", count=40)
    assert found.asked_by == found.among == f"{SOUND}@1"
    assert found.clips == 39 and key_of(project, "clip-05") not in keys(found)


def test_split_and_labels_leave_the_rest_out(project: Project) -> None:
    config, query = project.config(), Query(clip=key_of(project, "clip-05"))
    every = search_clips(config, FIRST, query, "text", count=40)
    some = search_clips(config, FIRST, query, "text", count=40, split=Split.TRAIN, where={"what": "sand"})
    spine = read_spine(StoreLayout(config.store), CORPUS)
    is_train = dict(spine.filter(pl.col("split") == "train").select("key", "labels").iter_rows())
    wanted = [key for key in keys(every) if "sand" in is_train.get(key, "")]
    assert keys(some) == wanted and 0 < some.clips == len(wanted) < 40
    with pytest.raises(ConfigError, match="no clip is left"):
        search_clips(config, FIRST, query, "text", where={"what": "gold"})
    with pytest.raises(ConfigError, match=r"columns of the labels are: .*what"):
        search_clips(config, FIRST, query, "text", where={"weight": "2"})


def test_programs_search_by_one_typed_call(project: Project) -> None:
    folder = project.folder
    (folder / "mmpipe.toml").write_text(
        f'store = "store"\n[corpora.{CORPUS}]\nroot = "media"\nfeatures = ["{SOUND}", "{TEXT}"]\n', "utf-8"
    )
    found = find_clips(FIRST, "text", clip=key_of(project, "clip-05"), count=3, config=folder / "mmpipe.toml")
    assert isinstance(found, SearchReport) and [one.rank for one in found.found] == [1, 2, 3]
    assert json.loads(json.dumps(found.as_json()))["found"][0]["key"] == found.found[0].key
    with pytest.raises(ConfigError, match="asks one thing"):
        find_clips(FIRST, "text", clip="a", text="b", config=folder / "mmpipe.toml")
    with pytest.raises(ConfigError, match="count is -1"):
        find_clips(FIRST, "text", clip="a", count=-1, config=folder / "mmpipe.toml")
    with pytest.raises(ConfigError, match="'x'; there are: train"):
        find_clips(FIRST, "text", clip="a", split="x", config=folder / "mmpipe.toml")


# --------------------------------------------------------------------------- the figures


def test_searching_finds_the_very_figures_of_the_evaluation(project: Project) -> None:
    made = check_search(project.config(), FIRST)
    assert made.holds and not made.moved and made.clips > 3
    figures = {one.name: one for one in made.measures}
    assert {"query r@1", "query r@10", "item r@5", "item mrr"} <= figures.keys()
    assert all(one.evaluation == one.search for one in figures.values())
    said = json.loads(list_versions(project.folder / "store" / "models", MODEL)[0].read("figures.json"))["measures"]
    for name in ("query r@1", "query r@5", "item r@1", "item r@10"):
        assert figures[name].search == said[name]["estimate"]


def test_a_clip_at_another_place_is_no_equal_figure() -> None:
    measure = CheckedMeasure(name="query r@1", evaluation=0.5, search=0.5)
    report = CheckReport(model="m@1", corpus="c", clips=2, measures=(measure,), moved=1, graph_recall=None)
    assert not report.holds
    off = CheckedMeasure(name="query r@1", evaluation=0.5, search=0.25)
    assert not CheckReport(model="m@1", corpus="c", clips=2, measures=(off,), moved=0, graph_recall=None).holds


def test_above_the_bound_a_graph_is_followed_unless_all_is_asked_for(copied: Project) -> None:
    pytest.importorskip("usearch", reason="mmpipe[ann] is not installed")
    config = copied.config(search={"exact_up_to": 10})
    told: list[str] = []
    query = Query(clip=key_of(copied, "clip-05"))
    along = search_clips(config, FIRST, query, "text", tell=told.append)
    exact = search_clips(config, FIRST, query, "text", exact=True)
    assert (along.how, exact.how) == ("graph", "exact") and keys(along) == keys(exact)
    assert any("linking 40 clips" in line for line in told)
    told.clear()
    assert search_clips(config, FIRST, query, "text", split=Split.TRAIN, tell=told.append).how == "exact"
    assert search_clips(config, FIRST, query, "text", tell=told.append).how == "graph" and not told
    (index_of(copied, f"{TEXT}@1") / "graph.usearch").write_bytes(b"no graph")
    again = search_clips(config, FIRST, query, "text", tell=told.append)
    assert keys(again) == keys(exact) and len(told) == 1
    checked = check_search(config, FIRST, graph=True)
    assert checked.graph_recall is not None and checked.graph_recall > 0.95


# --------------------------------------------------------------------------- the index


def test_only_shards_that_are_new_are_embedded_and_labels_change_nothing(copied: Project) -> None:
    told: list[str] = []

    def ask() -> SearchReport:
        told.clear()
        query = Query(clip=key_of(copied, "clip-05"))
        return search_clips(copied.config(), FIRST, query, "text", count=60, tell=told.append)

    ask()
    before = index_of(copied, f"{TEXT}@1")
    assert not ask().tainted and not told  # it is there
    copied.add(40, 50)
    copied.take_in("2026-11-21")
    assert ask().clips == 50 and told == [
        f"index of {TEXT}@1 of {CORPUS} by {ask_name(copied)}: 1 shard to embed, 3 kept"
    ]
    after = index_of(copied, f"{TEXT}@1")
    assert after != before and not before.exists()
    grown = (after / "vectors.npy").read_bytes()
    shutil.rmtree(after)
    ask()
    assert "4 shards to embed, 0 kept" in told[0] and (after / "vectors.npy").read_bytes() == grown
    labels = copied.folder / "labels.jsonl"
    labels.write_text(labels.read_text("utf-8").replace("rock", "stone"), "utf-8")
    copied.take_in("2026-11-22")
    assert any(one.labels["what"] == "stone" for one in ask().found) and not told


def ask_name(project: Project) -> str:
    (version,) = list_versions(project.folder / "store" / "models", MODEL)
    return f"{MODEL}@{version.label}"


def test_a_damaged_index_is_found_and_made_again(copied: Project) -> None:
    config = copied.config()
    told: list[str] = []
    query = Query(clip=key_of(copied, "clip-05"))
    first = search_clips(config, FIRST, query, "text")
    path = index_of(copied, f"{TEXT}@1") / "vectors.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"?")
    layout = StoreLayout(config.store)
    (finding,) = [one for one in find_faults(layout) if one.code == "index_damaged"]
    assert "mmpipe verify --repair" in finding.way_out
    assert keys(search_clips(config, FIRST, query, "text", tell=told.append)) == keys(first)
    assert "made again" in told[0] and path.read_bytes() == whole
    path.write_bytes(b"")
    (step,) = [step for step in repair_store(config, layout, dry_run=True) if step.path == finding.path]
    assert step.action == "removed" and path.exists()
    repair_store(config, layout)
    assert not path.exists() and not find_faults(layout)


def test_what_is_forgotten_is_in_no_index_and_is_not_found(copied: Project) -> None:
    config, layout = copied.config(), StoreLayout(copied.config().store)
    tested = read_spine(layout, CORPUS).filter(pl.col("split") == "test").sort("key")
    gone, source, other = tested["key"][0], tested["source_id"][0], tested["key"][1]
    query = Query(clip=other)
    assert gone in keys(search_clips(config, FIRST, query, "text", count=40))
    unfinished = layout.staging / "index-0123"
    shutil.copytree(index_of(copied, f"{TEXT}@1"), unfinished)
    (place,) = [one for one in forget(config, CORPUS, source, "asked", dry_run=True).holdings if one.what == "index"]
    assert place.where.endswith(str(len(list_indexes(layout.indexes)) + 1))
    forget(config, CORPUS, source, "asked")
    assert not list_indexes(layout.indexes) and not unfinished.exists()
    found = search_clips(config, FIRST, query, "text", count=40)
    assert gone not in keys(found) and found.clips == 39 and "forgotten" in found.tainted


def test_figures_are_not_compared_where_a_tested_clip_is_superseded(copied: Project) -> None:
    source = read_spine(StoreLayout(copied.config().store), CORPUS).filter(pl.col("split") == "test")["source_id"][0]
    with wave.open(str(copied.folder / "media" / f"{source}.wav"), "rb") as file:
        frames, settings = file.readframes(1_200), file.getparams()
    with wave.open(str(copied.folder / "media" / f"{source}.wav"), "wb") as file:
        file.setparams(settings)
        file.writeframes(frames)
    copied.take_in("2026-11-21")
    with pytest.raises(ConfigError, match=r"1 of \d+ clips that find@1.* are no live clips"):
        check_search(copied.config(), FIRST)


def test_what_a_killed_search_left_in_an_index_is_removed_unless_somebody_is_at_it(copied: Project) -> None:
    config, query = copied.config(), Query(clip=key_of(copied, "clip-05"))
    search_clips(config, FIRST, query, "text")
    stray = index_of(copied, f"{TEXT}@1") / ".0123.graph.usearch"
    stray.write_bytes(b"half a graph")
    with Lease.acquire(StoreLayout(config.store), f"search-{CORPUS}"):
        assert search_clips(config, FIRST, query, "text", wait_s=0).found and stray.exists()
    assert search_clips(config, FIRST, query, "text").found and not stray.exists()


def test_a_clip_asks_by_what_it_has_on_its_own_date_and_as_it_was_learnt(copied: Project) -> None:
    config, key = copied.config(), key_of(copied, "clip-05")
    copied.add(40, 50)
    ingest_corpus(config, CORPUS, "2026-11-21")
    extract_plan(config, plan_corpus(config, CORPUS, features=(TEXT,)))
    late = search_clips(config, FIRST, Query(clip=key_of(copied, "clip-45")), "text", count=50)
    assert late.asked_by == late.among == f"{TEXT}@1"  # it has no sound yet
    space = open_space(config, FIRST)
    other = replace(space, fingerprints={**space.fingerprints, f"{SOUND}@1": "0" * 64})
    with pytest.raises(ConfigError, match=f"{SOUND}@1 of {CORPUS} was made otherwise"):
        embed_query(config, other, Query(clip=key), space.view("text"), CORPUS)


def test_what_is_typed_is_a_text_though_the_corpus_hears_its_own(project: Project) -> None:
    config = project.config()
    source = config.corpora[CORPUS]
    text = TextConfig(sources=("asr",), asr=SpeechModelConfig(model="a/b", revision="0" * 40))
    asked = _whole(config.model_copy(update={"corpora": {ASKED: source.model_copy(update={"text": text})}}))
    assert asked.corpora[ASKED].text == TextConfig(sources=("sidecar",))


def test_what_nobody_asks_is_garbage_and_what_is_asked_is_not(copied: Project) -> None:
    config, layout = copied.config(), StoreLayout(copied.config().store)
    search_clips(config, FIRST, Query(clip=key_of(copied, "clip-05")), "text")
    folder = index_of(copied, f"{TEXT}@1")
    assert not [item for item in collect_garbage(config, days=1).items if item.kind == "index"]
    later = lambda store: file_system_time(store) + 2 * 86_400  # noqa: E731
    items = {layout.local / item.path: item for item in collect_garbage(config, days=1, clock=later).items}
    assert items[folder].kind == "index" and items[folder].nbytes > 0
    collect_garbage(config, days=1, delete=True, clock=later)
    assert not folder.exists()


def test_two_do_not_make_one_index_at_once(copied: Project) -> None:
    layout = StoreLayout(copied.config().store)
    shutil.rmtree(layout.indexes, ignore_errors=True)
    query = Query(clip=key_of(copied, "clip-05"))
    with Lease.acquire(layout, f"search-{CORPUS}"), pytest.raises(TransientError, match="search"):
        search_clips(copied.config(), FIRST, query, "text", wait_s=0)
    lease, told = Lease.acquire(layout, f"search-{CORPUS}"), []

    def release_when_waited_for(line: str) -> None:
        told.append(line)
        if line.startswith("waiting"):
            lease.release()

    assert search_clips(copied.config(), FIRST, query, "text", tell=release_when_waited_for).clips == 40
    assert told[0].startswith("waiting") and "shards to embed" in told[1]
    assert all(not index_faults(folder) for folder in list_indexes(layout.indexes))


# --------------------------------------------------------------------------- what cannot be asked


def test_a_modality_that_the_space_lacks_is_named(project: Project) -> None:
    query = Query(clip=key_of(project, "clip-05"))
    with pytest.raises(ConfigError, match=r"knows nothing of 'video'.*audio, text"):
        search_clips(project.config(), FIRST, query, "video")
    with pytest.raises(ConfigError, match="no clip 'nobody'"):
        search_clips(project.config(), FIRST, Query(clip="nobody"), "text")
    with pytest.raises(ConfigError, match="knows nothing of 'image'"):
        search_clips(project.config(), FIRST, Query(image=Path("x.png")), "text")


def test_a_hostile_file_costs_a_reason_and_nothing_else(project: Project, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF\xff\xff\xff\xffWAVEfmt " + b"\x00" * 64)
    with pytest.raises(ConfigError, match=r"bad\.wav gives nothing to search with: \w+: "):
        search_clips(project.config(), FIRST, Query(audio=bad), "text")
    with pytest.raises(ConfigError, match="no such file"):
        search_clips(project.config(), FIRST, Query(audio=tmp_path / "none.wav"), "text")
    with pytest.raises(ConfigError, match="is a folder"):
        search_clips(project.config(), FIRST, Query(audio=tmp_path), "text")
    with pytest.raises(ConfigError, match="is empty"):
        Query(text=" \n")


def test_a_release_of_another_kind_and_one_without_a_signature_are_refused(copied: Project, tmp_path: Path) -> None:
    config, query = copied.config(), Query(clip=key_of(copied, "clip-05"))
    files = {"config.json": json.dumps({"spec": {"goal": "classify", "inputs": []}}).encode()}
    publish_version(config.store / "models", "tones", files, status="candidate", recipe_digest="x")
    with pytest.raises(ConfigError, match=r"tones@1.*goal = 'classify'.*share no space"):
        search_clips(config, "tones@1", query, "text")
    with pytest.raises(ConfigError, match="no model 'nobody'"):
        search_clips(config, "nobody@1", query, "text")
    public = tmp_path / "key.pub"
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    public.write_bytes(
        ed25519.Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    signed = copied.config(release={"onnx": False, "public_key": str(public), "require_signature": True})
    with pytest.raises(GateRefused):
        search_clips(signed, FIRST, query, "text")


def test_a_corpus_without_the_feature_or_with_another_one_is_refused(copied: Project) -> None:
    config, query = copied.config(), Query(text="a thing of ice")
    with pytest.raises(ConfigError, match="the corpus 'other' has none"):
        search_clips(config, FIRST, query, "audio", corpus="other")
    schema = config.store / CORPUS / f"{SOUND}@1" / "schema.json"
    table = json.loads(schema.read_bytes())
    schema.unlink()
    schema.write_bytes(json.dumps({**table, "dim": table["dim"] + 1}).encode())
    with pytest.raises(ConfigError, match=f"reads {SOUND}@1 with {table['dim']} numbers"):
        search_clips(config, FIRST, query, "audio")
