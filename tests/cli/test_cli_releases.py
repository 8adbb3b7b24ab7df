"""The verbs that vouch for a release, typed: make it again, sign it, check it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from typed_projects import Type

pytestmark = pytest.mark.usefixtures("warm_workers")


@pytest.fixture
def project(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project of one's own with a pair of keys, to change."""
    monkeypatch.delenv("MMPIPE_SIGN_KEY", raising=False)
    folder = Path(shutil.copytree(published, tmp_path / "project"))
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(private)
    (folder / "key.pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return folder


def test_a_release_is_made_again_from_its_own_files(project: Path, mmpipe: Type) -> None:
    told = mmpipe(project, "reproduce", "tones@1")  # the config is that of the second version
    assert told.code == 0 and "tones@1-" in told.out and ": reproduced" in told.out
    assert "the config has changed since (models.tones.train): the version's own settings were used" in told.err
    made = mmpipe(project, "reproduce", "tones", "--answers", "--json").json()
    assert (made["outcome"], made["reason"], made["differs"]) == ("reproduced", "", [])
    assert [row["equal"] for row in made["compared"]] == [True] * 6
    snapshot = next((project / "store" / "snapshots").glob("*.json"))
    snapshot.unlink()
    gone = mmpipe(project, "reproduce", "tones", "--json")
    assert (gone.code, gone.json()["outcome"]) == (1, "not reproduced")
    assert f"no snapshot {snapshot.stem}" in gone.json()["reason"]
    assert mmpipe(project, "reproduce", "tones@9").code == 3


def test_a_release_is_signed_checked_and_then_required(project: Path, mmpipe: Type) -> None:
    assert mmpipe(project, "models", "sign", "tones").code == 3  # no key is named
    assert mmpipe(project, "models", "verify", "tones", "--public", "key.pub").code == 4
    assert mmpipe(project, "models", "sign", "tones", "--key", "key.pem", "--dry-run").out.startswith(
        "would sign tones@2-"
    )
    signed = mmpipe(project, "models", "sign", "tones", "--key", "key.pem")
    assert signed.code == 0 and ": signed by the key " in signed.out
    assert "it was signed" in mmpipe(project, "models", "sign", "tones", "--key", "key.pem").out
    assert mmpipe(project, "models", "verify", "tones", "--public", "key.pub", "--json").json()["model"] == "tones"
    for line in (project / "key.pem").read_text().splitlines()[1:-1]:
        assert line not in signed.out + signed.err
    config = project / "mmpipe.toml"
    signed_only = 'release = { onnx = false, public_key = "key.pub", require_signature = true }'
    config.write_text(config.read_text().replace("release = { onnx = false }", signed_only))
    refused = mmpipe(project, "models", "promote", "tones@1", "--why", "older is better")
    assert refused.code == 4 and "is not signed" in refused.err
    assert mmpipe(project, "models", "rollback", "tones", "--why", "older is better").code == 4
    assert mmpipe(project, "predict", "media/s01.wav", "--model", "tones@1").code == 4
    assert mmpipe(project, "predict", "media/s01.wav", "--model", "tones").code == 0
    assert mmpipe(project, "models", "sign", "tones@1", "--key", "key.pem").code == 0
    assert mmpipe(project, "models", "promote", "tones@1", "--why", "older is better").code == 0
    assert mmpipe(project, "verify").code == 0


def test_a_wrong_fusion_is_found_before_anything_is_trained(project: Path, mmpipe: Type) -> None:
    config = project / "mmpipe.toml"
    good = config.read_text()
    assert mmpipe(project, "train", "--dry-run").code == 0
    config.write_text(re.sub(r"(?m)^fusions = .*$", 'fusions = ["nope"]', good))
    assert config.read_text() != good
    for line in (["plan"], ["train", "--dry-run"], ["run", "--dry-run"]):
        told = mmpipe(project, *line)
        assert told.code == 3 and "models.tones.fusions: no fusion named 'nope'; valid names are: " in told.err, line
    row = next(row for row in mmpipe(project, "doctor", "--json").json() if row["check"] == "models")
    assert row["state"] == "wrong"
