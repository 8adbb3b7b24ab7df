"""The verbs on models, typed: list, show, promote, roll back, ask; and what a refusal looks like."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, tree
from typed_projects import HOSTILE, LABELS, Type, model_table, write_config

from mmpipe.io import sha256_file
from mmpipe.registry.taint import mark_version
from mmpipe.registry.versions import pick_version
from mmpipe.store.layout import StoreLayout

pytestmark = pytest.mark.usefixtures("warm_workers")


@pytest.fixture
def project(published: Path, tmp_path: Path) -> Path:
    """Return a project of one's own, to change."""
    return Path(shutil.copytree(published, tmp_path / "project"))


def test_every_verb_that_reads_gives_json(published: Path, mmpipe: Type) -> None:
    key = mmpipe(published, "show", "s00", "--json").json()[0]["key"]
    lines = {
        "ls": ["dataset", "bytes"],
        "status": ["dt", "state"],
        "models ls": ["model", "version", "status", "aliases"],
        f"show {key}": ["key", "labels", "audio-mfccseg@1"],
        "quarantine ls": ["stage", "code", "count"],
        "quarantine show": ["file", "detail", "replay"],
        "probe s00.wav": ["file", "what"],
        "doctor": ["check", "state"],
    }
    for line, columns in lines.items():
        told = mmpipe(published, *line.split(), "--json")
        assert told.code == 0, told
        assert set(columns) <= told.json()[0].keys(), line
        assert mmpipe(published, *line.split()).code == 0
    assert mmpipe(published, "plan", "--json").json()["due"] == mmpipe(published, "verify", "--json").json() == []
    assert mmpipe(published, "models", "show", "tones", "--json").json()["model"] == "tones"
    assert "verdict" in mmpipe(published, "evaluate", "--json").json()


def test_hostile_words_are_shown_and_not_obeyed(published: Path, mmpipe: Type) -> None:
    shown = mmpipe(published, "show", "s01")  # the fixture refuses every control character in what is said
    assert "no\\x1b[31m\\x9b1m" in shown.out and "caption 1 \\x1b[31m of nothing" in shown.out
    assert mmpipe(published, "show", "s01", "--json").json()[0]["labels"]["word"] == HOSTILE
    told = mmpipe(published, "predict", "media/s01.wav", "--model", "tones", "--json")
    assert told.code == 0 and told.json()["answers"][0]["label"] == HOSTILE
    assert "broken%1B[2J.mp4" in mmpipe(published, "quarantine", "show").out
    assert mmpipe(published, "models", "show", "tones").code == 0


def test_a_night_that_is_done_has_nothing_to_do(published: Path, mmpipe: Type) -> None:
    told = mmpipe(published, "run", "--dt", DT)
    assert (told.code, told.out) == (0, f"nothing to do: {CORPUS} is complete (files in quarantine: 1)\n")


def test_dry_runs_write_nothing(published: Path, mmpipe: Type) -> None:
    before = tree(published)
    for line in (
        "init --corpus media --config other.toml",
        f"run --dt {DT}",
        f"ingest --dt {DT}",
        "extract --only all",
        f"backfill --from {DT} --to {DT}",
        "train",
        "publish",
        "report",
        "models promote tones@1 --why test",
        "models rollback tones --why test",
    ):
        told = mmpipe(published, *line.split(), "--dry-run")
        assert told.code == 0 and told.out, (line, told)
    assert tree(published) == before


def test_promote_and_rollback_move_production(project: Path, mmpipe: Type) -> None:
    versions = {row["version"]: row for row in mmpipe(project, "models", "ls", "--json").json()}
    first, second = versions
    assert versions[second]["aliases"] == "candidate, production" and versions[first]["aliases"] == "previous"
    told = mmpipe(project, "models", "rollback", "tones", "--why", "a test")
    assert (told.code, told.out) == (0, f"tones: production is {first}\n")
    told = mmpipe(project, "models", "rollback", "tones", "--why", "a test")
    assert told.code == 3 and "choose one: mmpipe models promote tones@NUMBER --why TEXT" in told.err
    told = mmpipe(project, "models", "promote", "tones@2", "--why", "a test")
    assert (told.code, told.out) == (0, f"tones: production is {second}, previous is {first}\n")
    assert mmpipe(project, "models", "promote", "tones@2").code == 2  # no reason given


def test_a_model_or_version_that_is_not_there_is_named_with_those_that_are(published: Path, mmpipe: Type) -> None:
    for line in (
        "models ls frob",
        "models show frob",
        "models rollback frob --why x",
        "predict media/s00.wav --model frob",
    ):
        told = mmpipe(published, *line.split())
        assert told.code == 3 and "no model 'frob'" in told.err and "known models: tones" in told.err, line
    told = mmpipe(published, "models", "show", "tones@9")
    assert told.code == 3 and "tones has no version '9'" in told.err and "mmpipe models ls tones" in told.err
    assert "names no model" in mmpipe(published, "models", "show", "tones@").err


def test_a_published_file_that_was_changed_is_refused(project: Path, mmpipe: Type) -> None:
    (weights,) = project.glob("store/models/tones/versions/2-*/model.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    told = mmpipe(project, "predict", "media/s00.wav", "--model", "tones@2")
    assert told.code == 1 and "model.safetensors has other content than published" in told.err
    assert mmpipe(project, "predict", "media/s00.wav", "--model", "tones@1").code == 0


def test_an_answer_of_a_tainted_model_says_so(project: Path, mmpipe: Type) -> None:
    models = StoreLayout(project / "store").models
    label = pick_version(models, "tones", "1").label
    mark_version(models, "tones", label, ("a" * 64,), "asked for")
    told = mmpipe(project, "predict", "media/s00.wav", "--model", "tones@1")
    assert told.code == 0 and f"tones@{label} is tainted: trained on 1 asset" in told.err.replace("\n", " ")
    told = mmpipe(project, "predict", "media/s00.wav", "--model", "tones@1", "--json")
    assert "forgotten" in told.json()["tainted"]
    told = mmpipe(project, "predict", "media/s00.wav", "--model", "tones@2")
    assert told.code == 0 and "tainted" not in told.err


def test_a_refused_fusion_ends_with_4_and_is_kept(project: Path, mmpipe: Type) -> None:
    write_config(project, LABELS, model_table("both", "audio-mfccseg", "text-ngrams"))
    told = mmpipe(project, "report", "--dt", DT)
    assert told.code == 0 and "the page is without the model: both was not trained" in told.err.replace("\n", " ")
    assert Path(project, told.out.strip()).name == f"{CORPUS}-{DT}.html"
    assert mmpipe(project, "report", "--model", "both").code == 3  # asked for by name
    told = mmpipe(project, "run", "--dt", DT)
    assert told.code == 4 and "the gate refused" in told.err and "report: " in told.out
    assert mmpipe(project, "run", "--dt", DT).code == 0  # judged is judged
    told = mmpipe(project, "evaluate")
    assert told.code == 4 and "would be refused" in told.err
    told = mmpipe(project, "publish")
    assert told.code == 4 and "was refused; it is kept with its report" in told.err
    rows = mmpipe(project, "models", "ls", "both", "--json").json()
    assert rows[0]["status"] == "refused"
    told = mmpipe(project, "models", "promote", "both@1", "--why", "a test")
    assert told.code == 4 and "mmpipe models ls both" in told.err and "--force" in told.err
    assert mmpipe(project, "models", "promote", "both@1", "--why", "a test", "--force").code == 0
    told = mmpipe(project, "predict", "media/s00.wav", "--model", "both@1", "--json")
    assert told.code == 0 and told.json()["status"] == "refused"
    assert f"both@{rows[0]['version']} was refused by the gate" in told.err.replace("\n", " ")


def test_verify_names_the_file_with_the_flipped_bit(project: Path, mmpipe: Type) -> None:
    assert mmpipe(project, "verify").out == "damage: none\n"
    (shown,) = project.glob(f"store/{CORPUS}/audio-mfccseg@1/data/dt={DT}/*.parquet")
    stored = project / "store" / CORPUS / "audio-mfccseg@1" / "objects" / sha256_file(shown)[:2] / sha256_file(shown)
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 0x10
    stored.write_bytes(content)
    told = mmpipe(project, "verify", "--json")
    assert told.code == 1 and "1 place(s) of the store are not what they should be" in told.err
    assert {row["code"] for row in told.json()} >= {"object_damaged"}
    assert any(stored.name in row["path"] for row in told.json())
    assert stored.name in mmpipe(project, "verify", "--corpus", CORPUS).out


def test_verify_heals_what_is_only_a_view(project: Path, mmpipe: Type) -> None:
    dataset = project / "store" / CORPUS / "audio-mfccseg@1"
    (shown,) = dataset.glob(f"data/dt={DT}/*.parquet")
    shown.unlink()
    (dataset / "README.md").write_text("scribbled over", encoding="utf-8")
    told = mmpipe(project, "verify")
    assert told.code == 1 and told.out.count("mmpipe verify --repair") == 2
    told = mmpipe(project, "verify", "--repair")
    assert (told.code, told.out) == (0, "damage: none\n")
    assert shown.exists()


def test_a_release_has_a_card_from_its_own_files(project: Path, mmpipe: Type) -> None:
    before = {path for path in (project / "store" / "models").rglob("*") if path.is_file()}
    assert mmpipe(project, "report", "--release", "tones").code == 0
    (path,) = (project / "store" / "reports").glob("*-release-tones@2-*.html")
    page = path.read_text("utf-8")
    for said in ("tones@2", "production", "The gate", "sha256sum -c SHA256SUMS", "mmpipe predict FILE --model tones@2"):
        assert said in page
    assert {path for path in (project / "store" / "models").rglob("*") if path.is_file()} == before
    assert mmpipe(project, "report", "--release", "tones@1").code == 0
    assert mmpipe(project, "report", "--release", "nobody").code == 3
