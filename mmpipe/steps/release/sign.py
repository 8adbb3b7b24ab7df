"""Sign releases, check their signatures, and hold promotions and questions to them where the config says so."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from mmpipe.config import Config
from mmpipe.errors import ConfigError, GateRefused
from mmpipe.registry.aliases import find_version, parse_reference
from mmpipe.registry.signature import (
    Signature,
    read_private_key,
    read_public_key,
    require_signature,
    sign_version,
)
from mmpipe.registry.versions import Version
from mmpipe.store.audit import append_event
from mmpipe.store.layout import StoreLayout, open_store

KEY_VARIABLE = "MMPIPE_SIGN_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A version with a signature that is valid."""

    model: str
    version: str
    key_sha256: str  # of the public key
    sums_sha256: str
    is_new: bool


def sign_release(config: Config, reference: str, key: Path | None = None, *, dry_run: bool = False) -> Signed:
    """Sign a version with the key of a file: the one given, of MMPIPE_SIGN_KEY, or of the config."""
    file = key or signing_key(config)
    if file is None:
        raise ConfigError(f"no key to sign with: give --key FILE, set {KEY_VARIABLE}, or release.sign_key")
    _require_package()
    private = read_private_key(file)
    layout = open_store(config.store, to_write=not dry_run)
    named = parse_reference(reference)
    version = find_version(layout.models, named.name, named.ref)  # every byte of it is looked at before it is signed
    if dry_run:
        return _told(version, None)
    made, is_new = sign_version(version, private)
    if is_new:
        facts = {"key_sha256": made.key_sha256, "sums_sha256": made.sums_sha256}
        append_event(layout, "sign", f"{version.name}@{version.label}", "it was asked for", facts)
    return _told(version, made, is_new)


def sign_if_asked(config: Config, version: Version) -> None:
    """Sign a version that was published now, where a key is named."""
    if signing_key(config):
        sign_release(config, f"{version.name}@{version.label}")


def verify_signature(config: Config, reference: str, public: Path | None = None) -> Signed:
    """Check a version byte by byte, and that the owner of a public key signed it, as it is now."""
    file = public or config.release.public_key
    if file is None:
        raise ConfigError("no key to check with: give --public FILE, or set release.public_key")
    _require_package()
    key = read_public_key(file)
    named = parse_reference(reference)
    version = find_version(StoreLayout(config.store).models, named.name, named.ref)
    return _told(version, require_signature(version, key))


def require_trusted(config: Config, version: Version) -> None:
    """Refuse a version that is not signed, where the config asks for that."""
    if config.release.require_signature:
        assert config.release.public_key is not None
        _require_package()
        require_signature(version, read_public_key(config.release.public_key))


def trusted_label(config: Config, name: str, ref: str) -> str:
    """Return the label of a version that may be put in production, whatever its alias says a moment later."""
    version = find_version(StoreLayout(config.store).models, name, ref, verify=False)
    require_trusted(config, version)
    return version.label


def is_trusted(config: Config, version: Version) -> bool:
    """Say whether a version may be put in production without a person."""
    try:
        require_trusted(config, version)
    except GateRefused:
        return False
    return True


def check_keys(config: Config) -> None:
    """Read the keys that the config names, before any work rests on them; what is required must be what is made."""
    file, public = signing_key(config), config.release.public_key
    if file or public:
        _require_package()
    private = read_private_key(file) if file else None
    known = read_public_key(public) if public else None
    if private and known and config.release.require_signature and private.public_key() != known:
        raise ConfigError(
            f"releases would be signed with {file}, and release.require_signature asks for signatures of {public}, "
            "which is another key. Name the two halves of one"
        )


def signing_key(config: Config) -> Path | None:
    """Return the file of the key that releases are signed with, if one is named."""
    named = os.environ.get(KEY_VARIABLE)
    return Path(named).expanduser() if named else config.release.sign_key


def _require_package() -> None:
    if importlib.util.find_spec("cryptography") is None:
        raise ConfigError("signatures need the package cryptography: install mmpipe[sign]")


def _told(version: Version, made: Signature | None, is_new: bool = False) -> Signed:
    return Signed(
        model=version.name,
        version=version.label,
        key_sha256=made.key_sha256 if made else "",
        sums_sha256=made.sums_sha256 if made else version.digest,
        is_new=is_new,
    )
