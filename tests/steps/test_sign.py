"""Releases that somebody vouches for: signed when they are published, and nothing else is promoted or asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from kill_models import MODEL

from mmpipe.config import Config, parse_config, resolve_paths
from mmpipe.errors import ConfigError, GateRefused
from mmpipe.registry.aliases import read_aliases
from mmpipe.steps.ask.predict import predict_files
from mmpipe.steps.keep.gc import collect_garbage, file_system_time
from mmpipe.steps.release.promotion import promote_version
from mmpipe.steps.release.release import release_model, release_reason
from mmpipe.steps.release.sign import check_keys, sign_release, trusted_label, verify_signature
from mmpipe.store.audit import read_events
from mmpipe.store.layout import open_store
from mmpipe.store.verify import verify_store

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")


@pytest.fixture(autouse=True)
def _no_key_of_this_machine(monkeypatch):
    monkeypatch.delenv("MMPIPE_SIGN_KEY", raising=False)


def write_keys(folder: Path, name: str = "key") -> dict[str, Path]:
    """Write a pair of keys; return the config's names for them."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return {"sign_key": private, "public_key": public}


def signing(config: Config, **release) -> Config:
    return config.model_copy(update={"release": config.release.model_copy(update=release)})


def test_a_release_is_signed_when_it_is_published_and_may_be_promoted(winning, tmp_path):
    keys = write_keys(tmp_path)
    config = signing(winning.place(winning.before_release, tmp_path), **keys, require_signature=True)
    made = release_model(config, MODEL, winning.trained.checkpoint)
    assert made.production == made.version == winning.released.version  # the version itself is what it was unsigned
    found = verify_signature(config, MODEL)
    layout = open_store(config.store)
    assert next((event.kind, event.subject) for event in read_events(layout)) == ("sign", f"{MODEL}@{made.version}")
    assert read_events(layout)[0].facts["key_sha256"] == found.key_sha256
    assert not sign_release(config, MODEL).is_new
    assert release_model(config, MODEL, winning.trained.checkpoint) == made
    assert predict_files(config, sorted((winning.folder / "media").glob("clip-00.*")), MODEL).answers


def test_an_unsigned_release_waits_for_its_signature_and_then_is_promoted(winning, tmp_path):
    keys = write_keys(tmp_path)
    config = signing(
        winning.place(winning.before_release, tmp_path), public_key=keys["public_key"], require_signature=True
    )
    made = release_model(config, MODEL, winning.trained.checkpoint)
    models = open_store(config.store).models
    assert (made.production, read_aliases(models, MODEL).candidate) == ("", made.version)
    assert release_reason(config, MODEL) == ""  # nothing is due before a person signs
    reference = f"{MODEL}@{made.version}"
    with pytest.raises(GateRefused, match="is not signed"):
        trusted_label(config, MODEL, made.version)
    with pytest.raises(GateRefused, match="is not signed"):
        predict_files(config, sorted((winning.folder / "media").glob("clip-00.*")), reference)
    assert sign_release(config, reference, keys["sign_key"], dry_run=True).key_sha256 == ""
    assert sign_release(config, reference, keys["sign_key"]).is_new
    assert release_reason(config, MODEL) == "the last release was cut short"
    assert release_model(config, MODEL, winning.trained.checkpoint).production == made.version


def test_signatures_outlive_garbage_collection_and_verify_finds_nothing_wrong(winning, tmp_path):
    keys = write_keys(tmp_path)
    config = signing(winning.place(winning.config.store, tmp_path), **keys)
    sign_release(config, MODEL)
    collect_garbage(config, days=0, delete=True, clock=lambda layout: file_system_time(layout) + 3e6)
    assert verify_signature(config, MODEL).version == winning.released.production
    assert not verify_store(open_store(config.store))


def test_the_environment_names_a_key_too(winning, tmp_path, monkeypatch):
    keys, other = write_keys(tmp_path), write_keys(tmp_path, "other")
    config = winning.place(winning.config.store, tmp_path)
    with pytest.raises(ConfigError, match=r"give --key FILE, set MMPIPE_SIGN_KEY, or release\.sign_key"):
        sign_release(config, MODEL)
    monkeypatch.setenv("MMPIPE_SIGN_KEY", str(keys["sign_key"]))
    assert sign_release(config, MODEL).is_new
    assert verify_signature(config, MODEL, keys["public_key"]).model == MODEL
    with pytest.raises(GateRefused, match="it has signatures of"):
        verify_signature(config, MODEL, other["public_key"])
    with pytest.raises(ConfigError, match=r"give --public FILE, or set release\.public_key"):
        verify_signature(config, MODEL)
    with pytest.raises(ConfigError, match="Name the two halves of one"):
        check_keys(signing(config, public_key=other["public_key"], require_signature=True))
    assert promote_version(open_store(config.store), MODEL, "1", why="it is good").production


def test_without_the_extra_it_is_said_what_to_install(winning, tmp_path, monkeypatch):
    config = signing(winning.place(winning.config.store, tmp_path), **write_keys(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for ask in (sign_release, verify_signature):
        with pytest.raises(ConfigError, match=r"install mmpipe\[sign\]"):
            ask(config, MODEL)
    with pytest.raises(ConfigError, match=r"install mmpipe\[sign\]"):
        check_keys(config)


def test_the_config_says_what_it_needs_and_paths_are_relative_to_it(tmp_path):
    with pytest.raises(ConfigError, match="require_signature = true needs public_key"):
        parse_config({"release": {"require_signature": True}})
    with pytest.raises(ConfigError, match=r"release\.require_signature = 'yes': must be true or false"):
        parse_config({"release": {"require_signature": "yes"}})
    config = resolve_paths(parse_config({"release": {"public_key": "team.pub"}}), tmp_path)
    assert config.release.public_key == tmp_path / "team.pub" and config.release.sign_key is None
