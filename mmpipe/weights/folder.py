"""Find a model by hub id or path, fetch it where that is allowed, and say by digest which one it is."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpipe.errors import ConfigError, TransientError
from mmpipe.remote import cache_root
from mmpipe.types import digest_of
from mmpipe.weights.digests import file_digests
from mmpipe.weights.header import require_whole

LOADED = (".json", ".safetensors", ".txt", ".model")  # what is read of a model's folder: no pickle, no code
_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")
_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A model in a folder of this machine, by the digest of its files' names and bytes."""

    name: str  # the hub id, or the folder's name
    folder: Path
    sha256: str

    def read_json(self, name: str) -> dict[str, Any]:
        """Return what a file of the folder holds; {} where there is none. Raise ConfigError where it is no table."""
        return read_json(self.folder / name)


def find_model(
    model: str, revision: str | None = None, *, offline: bool = True, table: str = "model", with_weights: bool = True
) -> ModelFolder:
    """Find a model and digest its files: hub ids are owner/name with a commit as revision, all else is a path.

    What is on this machine is never asked for at the hub, so that a worker without a network finds what its parent
    fetched. `table` is the config's table that names the model; `with_weights` False finds a tokenizer alone.
    Raise ConfigError where it is not here or holds no safetensors, TransientError where the hub does not answer.
    """
    suffixes = LOADED if with_weights else tuple(suffix for suffix in LOADED if suffix != ".safetensors")
    folder = _hub_folder(model, revision, offline, table, suffixes) if is_hub_id(model) else local_folder(model)
    if not folder.is_dir():
        raise ConfigError(
            f"{table}.model = {model!r}: there is no folder {folder}. Save the model there with "
            "save_pretrained, or say where it lies"
        )
    files = model_files(folder, suffixes)
    whole = (folder / "config.json").is_file() and any(path.suffix == ".safetensors" for path in files)
    if with_weights and not whole:
        raise ConfigError(
            f"{table}.model = {model!r}: {folder} is no model of transformers with config.json and "
            "safetensors weights (pickled weights are never read). Save it with save_pretrained."
        )
    if not files:
        raise ConfigError(f"{table}.model = {model!r}: {folder} holds no tokenizer. Save it with save_pretrained.")
    for path in files:
        if path.suffix == ".safetensors":
            require_whole(path, f"{table}.model = {model!r}")
    names = [path.relative_to(folder).as_posix() for path in files]
    parts = zip(names, file_digests(folder, files), strict=True)
    return ModelFolder(
        name=model if is_hub_id(model) else folder.name,
        folder=folder,
        sha256=digest_of(*(part for pair in parts for part in pair)),
    )


def is_hub_id(model: str) -> bool:
    """Return whether a model is named as the hub does, owner/name; a folder is ./NAME or absolute."""
    return _HUB_ID.fullmatch(model) is not None


def local_folder(model: str) -> Path:
    """Return the folder that a path of the config means."""
    return Path(model).expanduser().resolve()


def model_files(folder: Path, suffixes: Sequence[str] = LOADED) -> list[Path]:
    """Return the files of a model's folder that are read, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix in suffixes and path.is_file())


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; {} where there is none. Raise ConfigError where it is no table."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}. Fetch or save the model again.") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds {type(found).__name__} where a table is expected. Save the model again.")
    return found


def _hub_folder(model: str, revision: str | None, offline: bool, table: str, suffixes: Sequence[str]) -> Path:
    """Return the folder of a hub's model at a commit: what is here already, else what the hub gives."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    if not _COMMIT.fullmatch(revision or ""):
        raise ConfigError(
            f"{table}.model = {model!r} is an id of the hub: `revision` must be the 40 hex digits of its commit. "
            f"A local folder is written './{model}'"
        )
    wanted = [f"*{suffix}" for suffix in suffixes]
    fetched = cache_root() / "weights" / f"{digest_of('fetched', model, str(revision), *wanted)}.fetched"
    try:
        if not offline and fetched.exists():  # a commit never changes: what was fetched whole is asked for no more
            with suppress(LocalEntryNotFoundError):
                return Path(_snapshot(model, revision, wanted, offline=True))
        found = Path(_snapshot(model, revision, wanted, offline=offline))
    except RepositoryNotFoundError as error:
        raise ConfigError(f"the hub has no model {model!r} at {revision}: see {table}") from error
    except LocalEntryNotFoundError as error:
        if not offline:  # what the hub's client says after it got no answer
            why = error.__cause__ or error
            raise TransientError(
                f"the hub cannot be reached for {model!r}: {type(why).__name__}. Try again, or carry its folder to "
                f'this machine and set {table}.model = "./FOLDER"'
            ) from error
        raise ConfigError(
            f"the model {model!r} at {revision} is not on this machine. Set {table}.offline = false "
            f"once, or fetch it first: hf download {model} --revision {revision}"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise TransientError(f"the model {model!r} could not be fetched: {type(error).__name__}") from error
    if not offline:
        with suppress(OSError):  # without a cache the hub is asked again, no more
            fetched.parent.mkdir(parents=True, exist_ok=True)
            fetched.touch()
    return found


def _snapshot(model: str, revision: str | None, wanted: list[str], *, offline: bool) -> str:
    from huggingface_hub import snapshot_download

    return snapshot_download(model, revision=revision, local_files_only=offline, allow_patterns=wanted)
