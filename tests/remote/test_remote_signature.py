"""Signatures in a bucket: beside the version, put once, and left alone by whoever collects garbage."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mmpipe import remote
from mmpipe.errors import GateRefused
from mmpipe.registry.integrity import verify_models
from mmpipe.registry.signature import require_signature, sign_version, signature_files
from mmpipe.registry.versions import Version, publish_version

FILES = {"model.safetensors": b"weights", "verdict.json": b"{}"}


@pytest.fixture
def version(s3_root: Path) -> Version:
    return publish_version(s3_root / "models", "digits", FILES, status="candidate", recipe_digest="r1")


def test_a_version_in_a_bucket_is_signed_once_and_checked(version) -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    models = version.path.parents[2]
    with pytest.raises(GateRefused, match="it has no signature"):
        require_signature(version, key.public_key())
    made, is_new = sign_version(version, key)
    assert is_new and not sign_version(version, key)[1]
    assert require_signature(version, key.public_key()) == made
    assert [path.name for path in signature_files(version)] == [made.file]
    with pytest.raises(GateRefused, match="it has signatures of"):
        require_signature(version, other.public_key())
    assert not list(verify_models(models))
    (path,) = signature_files(version)
    remote.put(path, path.read_bytes().replace(made.signature.encode(), b"A" * len(made.signature)))
    assert [code for code, _, _ in verify_models(models)] == ["signature_damaged"]
