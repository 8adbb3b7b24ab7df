"""Training an encoder from the command line, and what the other verbs say of its release."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_maker import DT
from typed_projects import LABELS, Type, write_config, write_words

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("warm_workers")
LINE = ("feature", "train", "text-lstm", "--width", "8", "--epochs", "1")


def test_an_encoder_is_trained_shown_and_used(tmp_path: Path, mmpipe: Type) -> None:
    write_words(tmp_path)
    write_config(tmp_path, LABELS, "[features.words]", 'extractor = "text-tokens"', "max_tokens = 24")
    text = (tmp_path / "mmpipe.toml").read_text().replace('"audio-mfccseg", "text-ngrams"', '"text-tokens"')
    (tmp_path / "mmpipe.toml").write_text(text)
    mmpipe(tmp_path, "ingest", "--dt", DT)
    assert mmpipe(tmp_path, "extract").code == 0
    (planned,) = mmpipe(tmp_path, *LINE, "--dry-run", "--json").json()
    assert planned["release"] == "text-lstm" and planned["new"]
    assert not (tmp_path / "store" / "models").exists()

    (made,) = mmpipe(tmp_path, *LINE, "--json").json()
    assert made["extractor"].startswith("release:text-lstm@1-") and made["train clips"] == planned["train clips"] > 0
    (again,) = mmpipe(tmp_path, *LINE, "--json").json()
    assert again == {**made, "new": False}
    (row,) = mmpipe(tmp_path, "models", "ls", "--json").json()
    assert (row["model"], row["status"]) == ("text-lstm", "experimental")
    shown = mmpipe(tmp_path, "models", "show", "text-lstm")
    assert shown.code == 0 and "No gate has judged it" in shown.out
    asked = mmpipe(tmp_path, "predict", "media/s00.txt", "--model", "text-lstm@1")
    assert asked.code == 3 and "it answers nothing" in asked.err

    told = text.replace('"text-tokens"]', '"text-tokens", "heard"]')
    (tmp_path / "mmpipe.toml").write_text(f'{told}[features.heard]\nextractor = "release:text-lstm@1"\n')
    assert mmpipe(tmp_path, "extract").code == 0
    assert mmpipe(tmp_path, "plan").out == "due: none\n"
    assert mmpipe(tmp_path, "feature", "train", "text-dream").code == 3
