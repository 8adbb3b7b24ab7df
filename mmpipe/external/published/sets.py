"""Which published data sets can be read, by name."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from mmpipe.errors import ConfigError
from mmpipe.external.published.av_mnist import read_av_mnist
from mmpipe.external.published.conll import read_conll
from mmpipe.external.published.meld import read_meld
from mmpipe.external.published.mm_imdb import read_mm_imdb
from mmpipe.external.published.sample import Choices, Published
from mmpipe.external.published.sentiment import read_sentiment


class DataSet(StrEnum):
    """A published data set."""

    MOSI = "mosi"
    MOSEI = "mosei"
    MELD = "meld"
    AV_MNIST = "av-mnist"
    MM_IMDB = "mm-imdb"
    CONLL = "conll"  # any set of tagged sentences


_READERS: dict[DataSet, Callable[[str, Path], Published]] = {
    DataSet.MOSI: read_sentiment,
    DataSet.MOSEI: read_sentiment,
    DataSet.MELD: read_meld,
    DataSet.AV_MNIST: read_av_mnist,
    DataSet.MM_IMDB: read_mm_imdb,
}


def read_published(data_set: DataSet, path: Path, choices: Choices | None = None) -> Published:
    """Return a data set from its authors' files at a local path; ConfigError where they are not there, or not whole."""
    if not path.exists():
        raise ConfigError(f"{path} does not exist. Nothing is downloaded: name with --from where the files lie.")
    if data_set is DataSet.CONLL:
        return read_conll(path, choices or Choices())
    if choices not in (None, Choices()):
        raise ConfigError(f"--images, --words and --tags are of conll: the files of {data_set} say it themselves")
    return _READERS[data_set](str(data_set), path)
