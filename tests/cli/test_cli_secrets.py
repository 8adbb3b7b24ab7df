"""Secrets of the environment: a night that signs a release, and a failure, put none into a file or on the screen."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from corpus_maker import DT
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typed_projects import LABELS, Told, Type, model_table, write_config, write_words

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
def test_no_secret_is_written_or_told(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, mmpipe: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries = {name: f"canary{secrets.token_hex(12)}" for name in DOORS}
    for name, form in DOORS.items():
        monkeypatch.setenv(name, form.replace("{}", canaries[name]))
    write_words(tmp_path)
    write_config(tmp_path, LABELS, model_table("tones", "audio-mfccseg"))
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = tmp_path_factory.mktemp("key") / "key.pem"
    file.write_bytes(text)
    monkeypatch.setenv("MMPIPE_SIGN_KEY", str(file))
    told: list[Told] = [mmpipe(tmp_path, "run", "--dt", DT)]
    assert told[0].code == 0, told[0].err
    assert list((tmp_path / "store").glob("models/tones/signatures/*/*.json")), "a release was signed with the key"
    told += [mmpipe(tmp_path, *line.split()) for line in ("doctor", "status", "run --corpus nowhere")]
    assert told[-1].code == 3
    texts = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    texts |= {Path(f"printed {number}"): (one.out + one.err).encode() for number, one in enumerate(told)}
    wanted = {name: value.encode() for name, value in canaries.items()}
    wanted |= {"sign key, text": text.splitlines()[1], "sign key": key.private_bytes_raw()}
    found = [(path, name) for path, said in texts.items() for name, value in wanted.items() if value in said]
    assert found == []
