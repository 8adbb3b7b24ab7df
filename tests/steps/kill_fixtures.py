"""What the tests of kills, ledgers and predictions share: stores that are made once and copied."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kill_corpus import CORPUS, DT, write_config
from kill_mixed import MixedCorpus
from kill_models import (
    MODEL,
    copy_store,
    model_table,
    write_cues_that_need_the_sound,
    write_pairs_that_need_both,
)
from kill_process import Forks

from mmpipe.config import Config, parse_config
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.release.release import release_model
from mmpipe.steps.train.train import train_model


@pytest.fixture(scope="session")
def kill_folder() -> Iterator[Path]:
    """Return a folder in memory where there is one: a killed process loses nothing there that a disk would keep."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="mmpipe-kill-", dir=memory if memory.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def two_forks() -> Iterator[tuple[Forks, Forks]]:
    """Return two processes that do jobs in forks, side by side."""
    with closing(Forks()) as left, closing(Forks()) as right:
        yield left, right


@pytest.fixture(scope="session")
def mixed(kill_folder: Path, two_forks: tuple[Forks, Forks]) -> MixedCorpus:
    """Return the corpus, filled once."""
    folder = kill_folder / "mixed"
    folder.mkdir()
    return MixedCorpus(folder, two_forks[0])


class TrainedStore:
    """A corpus with its config, and the store after training and release."""

    def __init__(self, folder: Path, clips: str) -> None:
        write = write_pairs_that_need_both if clips == "whole" else write_cues_that_need_the_sound
        write(folder / "media")
        self.folder = folder
        self.table = model_table(folder, clips)
        self.config = parse_config(self.table)
        ingest_corpus(self.config, CORPUS, DT)
        extract_plan(self.config, plan_corpus(self.config, CORPUS))
        self.extracted = copy_store(self.config.store, folder / "extracted")
        self.trained = train_model(self.config, MODEL)
        self.before_release = copy_store(self.config.store, folder / "trained")
        self.released = release_model(self.config, MODEL, self.trained.checkpoint)

    def place(self, source: Path, folder: Path, **gate: Any) -> Config:
        """Return a config over a copy of one of the stores."""
        copy_store(source, folder / "store")
        table = model_table(self.folder, str(self.config.corpora[CORPUS].clips.rule), **gate)
        table["store"] = str(folder / "store")
        write_config(folder, table)
        return parse_config(table)


@pytest.fixture(scope="session")
def winning(kill_folder: Path) -> TrainedStore:
    """Return a store in which the fused model wins: whole clips, each class needs the sound and the caption."""
    return TrainedStore(kill_folder / "winning", "whole")


@pytest.fixture(scope="session")
def losing(kill_folder: Path) -> TrainedStore:
    """Return a store in which the fused model cannot win: clips of cues, the sound alone tells the class."""
    return TrainedStore(kill_folder / "losing", "cues")


@pytest.fixture(scope="session")
def model_forks() -> Iterator[Forks]:
    """Return a process that trains and releases in forks."""
    modules = ("mmpipe.steps.release.release", "mmpipe.train.loop", "mmpipe.train.weights", "mmpipe.train.export")
    with closing(Forks(*modules)) as forks:
        yield forks
