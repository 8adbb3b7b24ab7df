"""The speech model of a corpus: which one it is by digest, and what names the words that it hears."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmpipe.config import SpeechModelConfig
from mmpipe.types import Stream, digest_of
from mmpipe.weights.folder import find_model, local_folder, model_files

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
    found = find_model(config.model, config.revision, offline=config.offline, table="text.asr")
    return SpeechModel(
        name=found.name,
        folder=found.folder,
        sha256=found.sha256,
        language=config.language,
        word_times=config.word_times,
    )


def look_of_model(config: SpeechModelConfig) -> str:
    """Return what changes when somebody changes a local model, without reading it: names, sizes, time stamps."""
    if config.is_hub_id:
        return ""  # its revision is a setting
    folder = local_folder(config.model)
    states = ((path.relative_to(folder).as_posix(), path.stat()) for path in model_files(folder))
    return digest_of(*(part for name, state in states for part in (name, state.st_size, state.st_mtime_ns)))
