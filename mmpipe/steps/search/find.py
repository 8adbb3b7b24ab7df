"""The door for programs: find clips as `mmpipe search` does, and get typed values."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from mmpipe.config import CONFIG_NAME, load_config
from mmpipe.errors import ConfigError
from mmpipe.steps.search.query import Query
from mmpipe.steps.search.search import SearchReport, search_clips
from mmpipe.types import Split

_Place = str | PathLike[str]


def find_clips(
    model: str,
    among: str,
    *,
    text: str | None = None,
    audio: _Place | None = None,
    video: _Place | None = None,
    image: _Place | None = None,
    array: _Place | None = None,
    clip: str | None = None,
    count: int = 10,
    corpus: str | None = None,
    split: str | None = None,
    where: Mapping[str, str] | None = None,
    exact: bool = False,
    config: _Place = CONFIG_NAME,
) -> SearchReport:
    """Find the clips nearest to one text, file or clip of the store; public as `mmpipe.find_clips`.

    `model` is NAME (what is in production) or NAME@VERSION of a release with goal = "retrieve"; `among` is what is
    looked through: a modality, several joined by +, or a feature. `config` names the config file, and with it the
    store. Raise ConfigError for what cannot be asked.
    """
    files = {"audio": audio, "video": video, "image": image, "array": array}
    paths = {name: None if file is None else Path(file) for name, file in files.items()}
    return search_clips(
        load_config(Path(config)),
        model,
        Query(text=text, clip=clip, **paths),
        among,
        count=count,
        corpus=corpus,
        split=None if split is None else _split_of(split),
        where=where,
        exact=exact,
    )


def _split_of(name: str) -> Split:
    try:
        return Split(name)
    except ValueError as error:
        raise ConfigError(f"no split is called {name!r}; there are: {', '.join(Split)}") from error
