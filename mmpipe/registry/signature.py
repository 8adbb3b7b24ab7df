"""Who vouches for a version: Ed25519 signatures over the bytes of its SHA256SUMS, beside the version, which stays.

MODELS/NAME/signatures/<n>-<digest8>/<key>-<sums>.json    put-if-absent; the first 16 hex digits of two sha256:
                                                          of the public key, and of the SHA256SUMS that was signed
What was forgotten out of a version gave it new sums: they need a new signature, and the old one stays as a record.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmpipe.errors import ConfigError, GateRefused, StoreError
from mmpipe.io import canonical_json, list_names, make_directory, put_if_absent, remove_file, write_durable
from mmpipe.registry.sums import SUMS_NAME
from mmpipe.registry.versions import Version
from mmpipe.remote import RemotePath, create

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "ed25519"
FORMAT = 1
_SHOWN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature, as its file has it."""

    algorithm: str
    public_key: str  # base64 of its 32 bytes
    sums_sha256: str  # of the SHA256SUMS that was signed
    signature: str  # base64 of its 64 bytes

    @property
    def key_sha256(self) -> str:
        """Return the sha256 of the public key: what people compare."""
        return hashlib.sha256(base64.b64decode(self.public_key)).hexdigest()

    @property
    def file(self) -> str:
        """Return the name of its file."""
        return f"{self.key_sha256[:_SHOWN]}-{self.sums_sha256[:_SHOWN]}.json"


def read_private_key(file: Path) -> Ed25519PrivateKey:
    """Return the private key of a PEM file; nothing of it is ever told."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey as Wanted
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read_key(file, "private")
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError as error:  # what it raises where a password is needed
        raise ConfigError(
            f"the private key {file} has a password, and nobody is asked for it: give one without"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{file} is no private key in PEM. {_MAKE_ONE}") from error
    if not isinstance(key, Wanted):
        raise ConfigError(f"{file} is a {type(key).__name__}, and signatures are Ed25519. {_MAKE_ONE}")
    return key


def read_public_key(file: Path) -> Ed25519PublicKey:
    """Return the public key of a PEM file."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey as Wanted
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read_key(file, "public")
    try:
        key = load_pem_public_key(data)
    except ValueError as error:
        raise ConfigError(f"{file} is no public key in PEM. {_MAKE_PUBLIC}") from error
    if not isinstance(key, Wanted):
        raise ConfigError(f"{file} is a {type(key).__name__}, and signatures are Ed25519. {_MAKE_ONE}")
    return key


def sign_version(version: Version, key: Ed25519PrivateKey) -> tuple[Signature, bool]:
    """Put a signature over a version's SHA256SUMS beside it; say whether it is new."""
    sums = (version.path / SUMS_NAME).read_bytes()
    made = Signature(
        algorithm=ALGORITHM,
        public_key=_text(key.public_key().public_bytes_raw()),
        sums_sha256=hashlib.sha256(sums).hexdigest(),
        signature=_text(key.sign(sums)),
    )
    return made, _put(_folder(version) / made.file, canonical_json({"format": FORMAT, **asdict(made)}))


def require_signature(version: Version, key: Ed25519PublicKey) -> Signature:
    """Return the signature of this key over a version as it is now.

    GateRefused: there is none. StoreError: there is one, and it is not of this key or not over these bytes.
    """
    sums = (version.path / SUMS_NAME).read_bytes()
    raw = key.public_bytes_raw()
    wanted = f"{hashlib.sha256(raw).hexdigest()[:_SHOWN]}-{hashlib.sha256(sums).hexdigest()[:_SHOWN]}.json"
    path = _folder(version) / wanted
    where = f"{version.name}@{version.label}"
    try:
        found = parse_signature(path.read_bytes(), path)
    except FileNotFoundError as error:
        others = sorted({file.name.partition("-")[0] for file in signature_files(version)})
        told = f"it has signatures of {', '.join(others)}" if others else "it has no signature"
        raise GateRefused(
            f"{where} is not signed, as it is now, by the key {wanted[:_SHOWN]}: {told}. "
            f"Sign it: mmpipe models sign {version.name}@{version.number} --key FILE"
        ) from error
    if fault := signature_fault(found, sums, raw):
        raise StoreError(f"the signature {path} of {where} is not valid: {fault}. Trust nothing in its folder.")
    return found


def signature_files(version: Version) -> list[Path]:
    """Return the signatures' files beside a version, also over sums of before something was forgotten out of it."""
    names = sorted(list_names(_folder(version), folders=False))
    return [_folder(version) / name for name in names if not name.startswith(".")]  # a dot: of a killed process


def parse_signature(data: bytes, path: Path) -> Signature:
    """Read a signature's file; raise StoreError on anything else."""
    try:
        table = json.loads(data)
        if table.pop("format") != FORMAT or table["algorithm"] != ALGORITHM:
            raise ValueError(f"it is of another kind than {ALGORITHM}, format {FORMAT}")
        found = Signature(**table)
        if found.file != path.name:
            raise ValueError("its name is not that of its key and sums")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"the signature {path} is damaged: {error}. Sign the version again.") from error
    return found


def signature_fault(found: Signature, sums: bytes, raw_key: bytes | None = None) -> str:
    """Say what is wrong with a signature over these bytes, "" where nothing is; without a key it is held to its own."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey as Key

    try:
        own = base64.b64decode(found.public_key, validate=True)
        if raw_key is not None and own != raw_key:
            return "it is of another key"
        Key.from_public_bytes(own).verify(base64.b64decode(found.signature, validate=True), sums)
    except InvalidSignature:
        return f"it does not fit {SUMS_NAME}"
    except ValueError as error:
        return f"it is no signature ({error})"
    return ""


_MAKE_ONE = "Make one: openssl genpkey -algorithm ed25519 -out KEY.pem"
_MAKE_PUBLIC = "Make it of the private one: openssl pkey -in KEY.pem -pubout -out KEY.pub"


def _read_key(file: Path, kind: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"the {kind} key {file} cannot be read: {error.strerror}") from error


def _folder(version: Version) -> Path:
    return version.path.parent.parent / "signatures" / version.path.name


def _put(path: Path, data: bytes) -> bool:
    """Give the bytes their name, once; return False where they have it already."""
    if isinstance(path, RemotePath):
        return not path.is_file() and create(path, data)
    staged = make_directory(path.parent) / f".{uuid.uuid4().hex}.tmp"
    try:
        write_durable(staged, data)
        return put_if_absent(staged, path)
    finally:
        remove_file(staged)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
