"""Find a speech model on this machine, fetch it where that is allowed, and say by digest which one it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmpipe.config import SpeechModelConfig
from mmpipe.errors import ConfigError, TransientError
from mmpipe.types import Stream, digest_of

LOADED = (".json", ".safetensors", ".txt", ".model")  # what is read of a model's folder: no pickle, no code
_TRANSCRIPT = "mmpipe-transcript-1"  # change it with whatever changes the words or their times


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechModel:
    """A model in a folder of this machine, by the digest of its files, and how it is asked."""

    name: str  # the hub id, or the folder's name
    folder: Path
    sha256: str
    language: str
    word_times: bool

    def transcript_digest(self, sound: Stream) -> str:
        """Return what names the words that it hears in a sound, before it has heard any."""
        return digest_of(_TRANSCRIPT, sound.digest, self.sha256, self.language, int(self.word_times))


def find_speech_model(config: SpeechModelConfig) -> SpeechModel:
    """Find the model and digest its files. Raise ConfigError where it is not here or holds no safetensors."""
    folder = _hub_folder(config) if config.is_hub_id else _local_folder(config)
    files = list(_files(folder))
    if not (folder / "config.json").is_file() or not any(path.suffix == ".safetensors" for path in files):
        raise ConfigError(
            f"text.asr.model = {config.model!r}: {folder} is no model of transformers with config.json and "
            "safetensors weights (pickled weights are never read). Save it with save_pretrained."
        )
    return SpeechModel(
        name=config.model if config.is_hub_id else folder.name,
        folder=folder,
        sha256=digest_of(*(part for path in files for part in (_name(path, folder), _sha256(path)))),
        language=config.language,
        word_times=config.word_times,
    )


def look_of_model(config: SpeechModelConfig) -> str:
    """Return what changes when somebody changes a local model, without reading it: names, sizes, time stamps."""
    if config.is_hub_id:
        return ""  # its revision is a setting
    folder = _local_folder(config)
    states = ((_name(path, folder), path.stat()) for path in _files(folder))
    return digest_of(*(part for name, state in states for part in (name, state.st_size, state.st_mtime_ns)))


def _local_folder(config: SpeechModelConfig) -> Path:
    return Path(config.model).expanduser().resolve()


def _hub_folder(config: SpeechModelConfig) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    wanted = [f"*{suffix}" for suffix in LOADED]
    try:
        return Path(
            snapshot_download(
                config.model, revision=config.revision, local_files_only=config.offline, allow_patterns=wanted
            )
        )
    except RepositoryNotFoundError as error:
        raise ConfigError(f"the hub has no model {config.model!r} at {config.revision}: see text.asr") from error
    except LocalEntryNotFoundError as error:
        raise ConfigError(
            f"the model {config.model!r} at {config.revision} is not on this machine. Set text.asr.offline = false "
            f"once, or fetch it first: hf download {config.model} --revision {config.revision}"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise TransientError(f"the model {config.model!r} could not be fetched: {type(error).__name__}") from error


def _files(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in LOADED and path.is_file())


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
