"""The verbs on noise banks, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpus_maker import DT, write_pairs
from typed_projects import Type

TOML = """store = "store"
engine = {{ workers = 2 }}
[corpora.sounds]
root = "media"
features = ["audio-mfccseg", "audio-mfccseg.noisy"]
split = {{ val = 0, test = 0 }}
[corpora.sounds.banks.babble]
clips = {clips}
voices = 2
length_s = 1.0
[corpora.sounds.renditions.noisy]
modality = "audio"
noise = {{ bank = "babble", snr_db = {snr_db} }}
"""

pytestmark = pytest.mark.usefixtures("warm_workers")


def write(folder: Path, clips: int = 2, snr_db: float = 5.0) -> None:
    (folder / "mmpipe.toml").write_text(TOML.format(clips=clips, snr_db=snr_db), encoding="utf-8")


def rows(mmpipe: Type, folder: Path, *words: str) -> list[dict[str, object]]:
    told = mmpipe(folder, *words, "--json")
    assert told.code == 0, told
    found: list[dict[str, object]] = json.loads(told.out)
    return found


def test_a_bank_is_made_once_and_anew_when_asked(tmp_path: Path, mmpipe: Type) -> None:
    write_pairs(tmp_path / "media", ["a", "b", "c"])
    write(tmp_path)
    assert mmpipe(tmp_path, "ingest", "--dt", DT).code == 0
    assert rows(mmpipe, tmp_path, "bank", "ls") == [{"bank": "babble", "state": "to be made", "clips": 0, "sha256": ""}]
    assert rows(mmpipe, tmp_path, "bank", "make", "babble", "--dry-run")[0]["state"] == "to be made"
    assert not (tmp_path / "store/sounds/banks").exists()
    made = rows(mmpipe, tmp_path, "bank", "make", "babble")
    assert made[0]["clips"] == 2 and made == rows(mmpipe, tmp_path, "bank", "ls")
    assert mmpipe(tmp_path, "extract").code == 0
    assert rows(mmpipe, tmp_path, "bank", "ls") == made
    write(tmp_path, snr_db=-5.0)
    assert "rendition: snr_db 5.0 -> -5.0" in mmpipe(tmp_path, "plan", "--json").out
    write(tmp_path, clips=3)
    assert rows(mmpipe, tmp_path, "bank", "ls")[0]["state"] == "to be made"
    told = mmpipe(tmp_path, "bank", "make", "hum")
    assert told.code == 3 and "no bank named 'hum' for 'sounds'; there are: ['babble']" in told.err
