"""The quarantine as a person uses it: what is seen of a thing, another try, and an exception that sticks."""

from __future__ import annotations

import io
import json
import shlex
import signal
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from corpus_maker import (
    CORPUS,
    DT,
    LATER,
    SOUND,
    drops,
    extract,
    ingest,
    make_config,
    reasons,
    tree,
    write_pairs,
    write_text,
    write_tone,
)
from PIL import Image

from mmpipe.cli import main
from mmpipe.config import Config
from mmpipe.errors import ConfigError, PartialError
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.quarantine.release_quarantine import release_quarantined, take_back_release
from mmpipe.steps.quarantine.released import list_released, reasons_of
from mmpipe.steps.quarantine.retry import retry_quarantined
from mmpipe.steps.tell.inspect import find_clips
from mmpipe.store.audit import read_events
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("warm_workers")
TIGHT = {"limits": {"duration_s": 0.8}, "max_quarantined": 1}


@dataclass(frozen=True)
class Told:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


def run(*words: str) -> Told:
    """Type a line, as the program itself gets it."""
    before = signal.getsignal(signal.SIGTERM)
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            main(words)
    finally:
        signal.signal(signal.SIGTERM, before)
    return Told(code=int(end.value.code or 0), out=out.getvalue(), err=err.getvalue())


def rows(config: Config) -> dict[str, dict[str, object]]:
    """Return the rows of the quarantine by file or clip."""
    found = read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()
    return {row["file"] or row["clip_key"]: row for row in found}


def attempts(config: Config) -> dict[str, object]:
    """Return how often each thing was tried."""
    return {name: row["attempts"] for name, row in rows(config).items()}


@pytest.fixture
def two_bad(tmp_path: Path) -> Config:
    """Return the config of an ingested corpus with a good pair, a broken sound and a long one."""
    write_pairs(tmp_path / "media", ["good"])
    write_text(tmp_path / "media" / "bad.wav", b"RIFF" + bytes(60))
    write_tone(tmp_path / "media" / "long.wav", 600, seconds=1.0)
    config = make_config(tmp_path, **TIGHT)
    ingest(config)
    assert drops(config)["long.wav"] == "limit_duration"
    return config


def test_a_row_says_what_was_seen(two_bad: Config) -> None:
    row = rows(two_bad)["long.wav"]
    seen = json.loads(str(row["facts"]))
    assert (seen["container"], seen["duration_s"], seen["bytes"]) == ("wav", 1.0, 16_044)
    assert seen["tracks"] == [{"channels": 1, "codec": "pcm_s16le", "kind": "audio", "rate_hz": 8000}]
    assert (row["stage"], row["attempts"], row["kept"]) == ("probe", 1, False) and len(str(row["file_sha256"])) == 64
    assert json.loads(str(rows(two_bad)["bad.wav"]["facts"]))["bytes"] == 64


def test_a_retry_counts_and_a_run_by_itself_does_not(two_bad: Config) -> None:
    assert attempts(two_bad) == {"bad.wav": 1, "long.wav": 1}
    report = retry_quarantined(two_bad, CORPUS, code="limit_duration")
    assert [(row.what, row.now) for row in report.rows] == [("long.wav", "limit_duration")]
    assert attempts(two_bad) == {"bad.wav": 1, "long.wav": 2}
    before = tree(two_bad.store / CORPUS)
    ingest(two_bad, LATER)
    assert tree(two_bad.store / CORPUS) == before


def test_a_retry_looks_at_a_file_anew_whatever_the_cache_says(two_bad: Config, tmp_path: Path) -> None:
    scan = tmp_path / "store" / "_runs" / f"scan-{CORPUS}.parquet"
    poison = scan.read_bytes()
    write_tone(tmp_path / "media" / "bad.wav", 1_500)
    ingest(two_bad)
    assert drops(two_bad) == {"long.wav": "limit_duration"}
    scan.write_bytes(poison)
    report = retry_quarantined(two_bad, CORPUS, file="long.wav")
    assert report.num_cured == 0 and reasons(two_bad) == {"limit_duration": 1}


def test_a_retry_of_what_is_not_there_names_what_is(two_bad: Config) -> None:
    with pytest.raises(ConfigError, match=r"codes there: .*limit_duration"):
        retry_quarantined(two_bad, CORPUS, code="frob")


def test_a_dry_retry_does_nothing(two_bad: Config) -> None:
    before = tree(two_bad.store)
    assert len(retry_quarantined(two_bad, CORPUS, dry_run=True).rows) == 2
    assert tree(two_bad.store) == before


def test_a_clip_that_lost_its_file_is_extracted_when_it_is_back(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["kept", "gone"])
    config = make_config(tmp_path)
    ingest(config)
    away = (tmp_path / "media" / "gone.wav").rename(tmp_path / "gone.wav")
    extract(config)
    report = retry_quarantined(config, CORPUS, stage="extract")
    assert [row.now for row in report.rows] == ["unreadable"] and set(attempts(config).values()) == {2}
    away.rename(tmp_path / "media" / "gone.wav")
    assert retry_quarantined(config, CORPUS, stage="extract").num_cured == 1
    assert reasons(config) == {} and find_clips(config, CORPUS, "gone")[0][SOUND] != "none"


def test_a_release_sticks_is_told_and_can_be_taken_back(two_bad: Config) -> None:
    layout = StoreLayout(two_bad.store)
    made = release_quarantined(two_bad, CORPUS, "long.wav", "we need it")
    assert [(entry.code, entry.what) for entry in made] == [("limit_duration", "long.wav")]
    assert "long.wav" not in drops(two_bad)
    extract(two_bad)
    assert find_clips(two_bad, CORPUS, "long")[0][SOUND] != "none"
    (layout.runs / f"scan-{CORPUS}.parquet").unlink()  # nothing but the store remembers it
    ingest(two_bad, LATER)
    assert "long.wav" not in drops(two_bad)
    assert "we need it" in reasons_of(layout, CORPUS)["limit_duration", made[0].thing]
    assert [event.kind for event in read_events(layout)] == ["quarantine-release"]
    take_back_release(two_bad, CORPUS, "limit_duration", "no longer")
    assert drops(two_bad)["long.wav"] == "limit_duration" and list_released(layout, CORPUS) == ()
    assert not verify_store(layout)


def test_what_was_let_in_can_be_forgotten(two_bad: Config) -> None:
    release_quarantined(two_bad, CORPUS, "long.wav", "we need it")
    forget(two_bad, CORPUS, "long", "asked to")
    ingest(two_bad, LATER)
    assert "long.wav" not in drops(two_bad) and find_clips(two_bad, CORPUS, "long") == []
    assert not verify_store(StoreLayout(two_bad.store))


def test_an_exception_is_for_these_bytes_alone(two_bad: Config, tmp_path: Path) -> None:
    release_quarantined(two_bad, CORPUS, "limit_duration", "this one")
    write_tone(tmp_path / "media" / "long.wav", 650, seconds=1.2)
    ingest(two_bad)
    assert drops(two_bad)["long.wav"] == "limit_duration"


@pytest.mark.parametrize(
    ("which", "reason", "message"),
    [
        ("bad.wav", "please", "no policy that could be bent"),
        ("long.wav", " ", "needs a reason"),
        ("frob", "please", "no code, file or clip 'frob'"),
    ],
)
def test_broken_bytes_are_never_released(two_bad: Config, which: str, reason: str, message: str) -> None:
    before = tree(two_bad.store)
    with pytest.raises(ConfigError, match=message):
        release_quarantined(two_bad, CORPUS, which, reason)
    assert tree(two_bad.store) == before


def test_a_release_says_of_everything_that_is_left_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media = tmp_path / "media"
    write_pairs(media, ["good"])
    for name, share in (("torn", 0.6), ("bare", 0.0)):
        write_tone(media / f"{name}.wav", 600, seconds=1.0)
        data = (media / f"{name}.wav").read_bytes()
        write_text(media / f"{name}.wav", data[: 44 + int(len(data) * share)])
    write_text(media / "words.json", '{"text": ')
    config = make_config(tmp_path, max_quarantined=1)
    ingest(config)
    assert reasons(config) == {"decode_error": 3}
    planned = release_quarantined(config, CORPUS, "decode_error", "part will do", dry_run=True)
    assert {entry.what: bool(entry.left) for entry in planned} == {
        "torn.wav": False,
        "bare.wav": False,
        "words.json": True,
    }
    made = {entry.what: entry.left for entry in release_quarantined(config, CORPUS, "decode_error", "part will do")}
    assert made["torn.wav"] == "" and "nothing of it can be decoded" in made["bare.wav"]
    assert "only a film or a sound has a part" in made["words.json"] and "not valid JSON" in made["words.json"]
    assert set(drops(config)) == {"torn.wav", "bare.wav", "words.json"}
    assert [row["kept"] for row in rows(config).values() if row["file"] == "torn.wav"] == [True]
    with pytest.raises(ConfigError, match=r"'words.json' is in quarantine for 'decode_error': only a film or a sound"):
        release_quarantined(config, CORPUS, "words.json", "part will do")
    (tmp_path / "mmpipe.toml").write_text(
        f'store = "store"\n[corpora.{CORPUS}]\nroot = "media"\nfeatures = ["audio-mfccseg", "text-ngrams"]\n'
    )
    monkeypatch.chdir(tmp_path)
    (listed,) = (row for row in json.loads(run("quarantine", "ls", "--json").out) if row["code"] == "decode_error")
    assert (listed["count"], listed["released before"]) == (2, 1)
    assert run("quarantine", "show", "decode_error").out.count("released before") == 1
    told = run("quarantine", "release", "decode_error", "--reason", "x", "--dry-run")
    assert told.code == 0 and "left: 'words.json' (decode_error): only a film" in told.err


def test_a_release_with_too_much_left_still_says_what_came_of_each(tmp_path: Path) -> None:
    write_tone_and_text(tmp_path / "media")
    config = make_config(tmp_path, max_quarantined=1)
    ingest(config)
    tight = make_config(tmp_path, max_quarantined=0.1)
    with pytest.raises(PartialError, match=r"released: 'torn.wav'; left: 'words.json': only a film.*`max_quarantined`"):
        release_quarantined(tight, CORPUS, "decode_error", "part will do")


def write_tone_and_text(media: Path) -> None:
    """Write a sound that is cut off, and a text that is no JSON."""
    media.mkdir()
    write_tone(media / "torn.wav", 600, seconds=1.0)
    write_text(media / "torn.wav", (media / "torn.wav").read_bytes()[:9_000])
    write_text(media / "words.json", '{"text": ')


def test_a_release_past_one_limit_names_the_next(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["good"])
    write_tone(tmp_path / "media" / "long.wav", 600, seconds=1.0)
    config = make_config(tmp_path, limits={"duration_s": 0.8}, max_quarantined=1)
    ingest(config)
    tighter = make_config(tmp_path, limits={"duration_s": 0.8, "min_sample_rate_hz": 10_000}, max_quarantined=1)
    with pytest.raises(ConfigError, match=r"'limit_duration' no longer binds it, .*'limit_rate'.*release it, too"):
        release_quarantined(tighter, CORPUS, "long.wav", "we need it")
    assert [entry.code for entry in list_released(StoreLayout(config.store), CORPUS)] == ["limit_duration"]
    release_quarantined(tighter, CORPUS, "long.wav", "at this rate, too")
    assert "long.wav" not in drops(tighter)


def test_a_picture_beyond_what_its_reader_allows_by_itself_is_let_in(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["good"])
    Image.new("1", (19_000, 19_000)).save(tmp_path / "media" / "huge.png")
    config = make_config(tmp_path, max_quarantined=1, features=["image-hogdct"], validate_by="decode")
    ingest(config)
    row = rows(config)["huge.png"]
    assert row["code"] == "limit_pixels" and "limits.pixels allows" in str(row["detail"])
    assert json.loads(str(row["facts"]))["width_px"] == 19_000
    (made,) = release_quarantined(config, CORPUS, "huge.png", "a map of the sky")
    assert made.left == "" and "huge.png" not in drops(config)
    extract(config)
    assert find_clips(config, CORPUS, "huge")[0]["image-hogdct@1"] != "none"


def test_a_twin_says_whether_its_bytes_or_only_its_streams_are_the_same(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    write_tone(media / "a.wav", 600)
    data = (media / "a.wav").read_bytes()
    write_text(media / "b.wav", data)
    tag = b"LIST" + (12).to_bytes(4, "little") + b"INFOICMT" + bytes(4)
    tagged = data[:4] + (len(data) + len(tag) - 8).to_bytes(4, "little") + data[8:] + tag
    write_text(media / "c.wav", tagged)
    config = make_config(tmp_path, max_quarantined=1)
    ingest(config)
    details = {name: row["detail"] for name, row in rows(config).items()}
    assert details == {
        "b.wav": "the same bytes in the same roles are kept as 'a'",
        "c.wav": "the same streams in the same roles, though in files of other bytes, are kept as 'a'",
    }


def test_a_filtered_clip_is_let_in(tmp_path: Path) -> None:
    write_pairs(tmp_path / "media", ["one"])
    config = make_config(tmp_path, filters={"long": "duration_s > 5"}, max_quarantined=1)
    ingest(config)
    assert reasons(config) == {"filtered_long": 1} and find_clips(config, CORPUS, "one") == []
    release_quarantined(config, CORPUS, "filtered_long", "short is fine here")
    assert reasons(config) == {} and len(find_clips(config, CORPUS, "one")) == 1


def test_the_verbs_from_a_terminal(two_bad: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mmpipe.toml").write_text(
        f'store = "store"\nengine = {{workers = 2}}\n[corpora.{CORPUS}]\nroot = "media"\nmax_quarantined = 1\n'
        'features = ["audio-mfccseg", "text-ngrams"]\nlimits = {duration_s = 0.8}\n'
    )
    monkeypatch.chdir(tmp_path)
    told = run("quarantine", "retry", "--file", "long.wav", "--json")
    assert told.code == 0 and json.loads(told.out)[0]["now"] == "limit_duration", told
    assert json.loads(run("quarantine", "release", "limit_duration", "--reason", "x", "--dry-run", "--json").out)
    assert run("quarantine", "release", "limit_duration", "--reason", "a good one").code == 0
    listed = json.loads(run("quarantine", "ls", "--released", "--json").out)
    assert [(row["code"], row["what"]) for row in listed] == [("limit_duration", "long.wav")]
    assert listed[0]["reason"].startswith("a good one (")
    told = run("quarantine", "release", "long.wav", "--undo", "--reason", "enough")
    assert told.code == 0 and "stays in use" not in told.err
    shown = run("quarantine", "show", "limit_duration").out
    assert "seen: {" in shown
    for row in read_quarantine(StoreLayout(two_bad.store), CORPUS).to_dicts():
        words = shlex.split(row["replay"])
        assert words[0] == "mmpipe" and run(*words[1:]).code == 0, row["replay"]
    assert run("quarantine", "release", "bad.wav", "--reason", "x").code == 3
    assert run("quarantine", "release", "long.wav", "--reason", "once more").code == 0
    (tmp_path / "media" / "long.wav").unlink()
    told = run("quarantine", "release", "long.wav", "--undo", "--reason", "enough")
    assert told.code == 0 and "'long.wav' stays in use" in told.err and "mmpipe forget" in told.err


def test_a_replay_command_of_every_stage_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path / "media", ["kept", "gone", "odd 'name\"; -x"])
    write_text(tmp_path / "media" / "-version.wav", "no sound")
    (tmp_path / "mmpipe.toml").write_text(
        f'store = "store"\nengine = {{workers = 2}}\n[corpora.{CORPUS}]\nroot = "media"\nmax_quarantined = 1\n'
        'features = ["audio-mfccseg", "text-ngrams"]\n'
    )
    config = make_config(tmp_path, max_quarantined=1)
    ingest_corpus(config, CORPUS, DT)
    (tmp_path / "media" / "gone.wav").unlink()
    extract(config)
    monkeypatch.chdir(tmp_path)
    replays = {row["stage"]: row["replay"] for row in read_quarantine(StoreLayout(config.store), CORPUS).to_dicts()}
    assert set(replays) == {"probe", "extract"}
    for command in replays.values():
        told = run(*shlex.split(command)[1:])
        assert told.code == 0, (command, told)
