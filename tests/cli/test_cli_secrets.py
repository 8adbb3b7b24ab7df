"""Secrets of the environment: a night and a failure put none of them into a file or on the screen."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from corpus_maker import DT
from typed_projects import LABELS, Told, Type, write_config, write_words

DOORS = {
    "AWS_ACCESS_KEY_ID": "{}",
    "AWS_SECRET_ACCESS_KEY": "{}",
    "AWS_SESSION_TOKEN": "{}",
    "HF_TOKEN": "{}",
    "MMPIPE_NOTIFY_URL": "https://example.invalid/{}?token={}",
    "MMPIPE_MLFLOW_URI": "https://me:{}@example.invalid",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer {}",
    "PREFECT_API_AUTH_STRING": "mmpipe:{}",
    "PREFECT_SERVER_API_AUTH_STRING": "mmpipe:{}",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://mmpipe:{}@example.invalid/prefect",
}


@pytest.mark.slow
def test_no_secret_is_written_or_told(tmp_path: Path, mmpipe: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    canaries = {name: f"canary{secrets.token_hex(12)}" for name in DOORS}
    for name, form in DOORS.items():
        monkeypatch.setenv(name, form.replace("{}", canaries[name]))
    write_words(tmp_path)
    write_config(tmp_path, LABELS)
    told: list[Told] = [mmpipe(tmp_path, "run", "--dt", DT)]
    assert told[0].code == 0, told[0].err
    told += [mmpipe(tmp_path, *line.split()) for line in ("doctor", "status", "run --corpus nowhere")]
    assert told[-1].code == 3
    texts = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    texts |= {Path(f"printed {number}"): (one.out + one.err).encode() for number, one in enumerate(told)}
    found = [(path, name) for path, text in texts.items() for name, value in canaries.items() if value.encode() in text]
    assert found == []
