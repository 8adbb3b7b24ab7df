from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mmpipe.errors import ConfigError, GateRefused, StoreError
from mmpipe.io import canonical_json
from mmpipe.registry.integrity import verify_models
from mmpipe.registry.signature import (
    read_private_key,
    read_public_key,
    require_signature,
    sign_version,
    signature_files,
)
from mmpipe.registry.versions import Version, publish_version, redact_version, verify_version

FILES = {"model.safetensors": b"weights", "verdict.json": b"{}", "predictions.parquet": b"answers"}


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def version(tmp_path: Path) -> Version:
    return publish_version(tmp_path / "models", "digits", FILES, status="candidate", recipe_digest="r")


def pem(key, password: bytes | None = None) -> bytes:
    hidden = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden)


def public_pem(key) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def faults(version: Version) -> list[str]:
    return [code for code, _, _ in verify_models(version.path.parents[2])]


def test_a_signature_lies_beside_the_version_which_stays_as_it_is(version, key):
    before = {path.name: path.read_bytes() for path in version.path.iterdir()}
    made, is_new = sign_version(version, key)
    assert is_new and not sign_version(version, key)[1]
    assert {path.name: path.read_bytes() for path in version.path.iterdir()} == before
    assert require_signature(version, key.public_key()) == made
    assert [path.name for path in signature_files(version)] == [made.file]
    verify_version(version)
    assert faults(version) == []


def test_another_key_and_no_key_are_told_apart(version, key):
    other = Ed25519PrivateKey.generate()
    with pytest.raises(
        GateRefused, match=r"digits@1-\w+ is not signed, .* it has no signature\. Sign it: mmpipe models sign"
    ):
        require_signature(version, key.public_key())
    sign_version(version, other)
    with pytest.raises(GateRefused, match=r"it has signatures of [0-9a-f]{16}"):
        require_signature(version, key.public_key())
    sign_version(version, key)
    assert require_signature(version, key.public_key()) and require_signature(version, other.public_key())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"signature": base64.b64encode(bytes(64)).decode()}, "does not fit SHA256SUMS"),
        ({"signature": "no"}, "it is no signature"),
        ({"format": 2}, "of another kind"),
        ({"algorithm": "rsa"}, "of another kind"),
        ({"sums_sha256": "0" * 64}, "its name is not that of its key and sums"),
        ({"public_key": base64.b64encode(bytes(32)).decode()}, "its name is not that of its key and sums"),
        ({"more": 1}, "damaged"),
    ],
)
def test_a_forged_signature_is_seen_by_who_asks_and_by_verify(version, key, change, told):
    made, _ = sign_version(version, key)
    (path,) = signature_files(version)
    path.write_bytes(canonical_json(json.loads(path.read_bytes()) | change))
    with pytest.raises(StoreError, match=told):
        require_signature(version, key.public_key())
    assert faults(version) == ["signature_damaged"]
    assert made.signature not in str(change)


def test_a_signature_of_another_version_is_none_of_this_one(version, key, tmp_path):
    other = publish_version(tmp_path / "models", "digits", FILES | {"x": b""}, status="candidate", recipe_digest="r")
    made, _ = sign_version(other, key)
    stolen = version.path.parents[1] / "signatures" / version.path.name / made.file
    stolen.parent.mkdir(parents=True)
    stolen.write_bytes(signature_files(other)[0].read_bytes())
    with pytest.raises(GateRefused, match="is not signed"):
        require_signature(version, key.public_key())
    assert faults(version) == ["signature_damaged"]


def test_what_was_forgotten_needs_a_new_signature_and_the_old_one_is_no_damage(version, key, tmp_path):
    sign_version(version, key)
    redact_version(version, {"predictions.parquet": b"fewer"}, ("a" * 64,), "they asked")
    from mmpipe.registry.versions import pick_version

    now = pick_version(tmp_path / "models", "digits", "1")
    with pytest.raises(GateRefused, match="is not signed, as it is now"):
        require_signature(now, key.public_key())
    assert faults(now) == []
    assert sign_version(now, key)[1]
    assert require_signature(now, key.public_key()).sums_sha256 != version.digest
    assert faults(now) == []


def test_openssl_agrees(version, key, tmp_path):
    made, _ = sign_version(version, key)
    (tmp_path / "key.pub").write_bytes(public_pem(key))
    (tmp_path / "sig").write_bytes(base64.b64decode(made.signature))
    words = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "key.pub", "-sigfile", "sig", "-in"]
    try:
        done = subprocess.run([*words, str(version.path / "SHA256SUMS")], cwd=tmp_path, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    assert done.returncode == 0 and "Success" in done.stdout, done


def test_keys_that_cannot_be_used_are_refused_without_a_word_of_their_content(tmp_path, key):
    file = tmp_path / "key.pem"
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_private_key(file)
    for data, told in (
        (b"secret words", "is no private key in PEM. Make one: openssl genpkey"),
        (pem(key, b"secret"), "has a password"),
        (pem(generate_private_key(SECP256R1())), "signatures are Ed25519"),
        (public_pem(key), "is no private key in PEM"),
    ):
        file.write_bytes(data)
        with pytest.raises(ConfigError, match=told) as error:
            read_private_key(file)
        assert data.decode().splitlines()[-1 if data.startswith(b"secret") else -2][:20] not in str(error.value)
    file.write_bytes(pem(key))
    assert read_private_key(file).public_key() == key.public_key()
    with pytest.raises(ConfigError, match=r"is no public key in PEM\. Make it of the private one"):
        read_public_key(file)
    file.write_bytes(public_pem(key))
    assert read_public_key(file) == key.public_key()
    file.write_bytes(public_pem(generate_private_key(SECP256R1())))
    with pytest.raises(ConfigError, match="signatures are Ed25519"):
        read_public_key(file)
