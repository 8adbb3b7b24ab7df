"""A corpus of every modality that child processes take in, each into a store of its own."""

from __future__ import annotations

import json
from pathlib import Path

from kill_corpus import config_table, tree_digest, write_config, write_mixed
from kill_process import Forks

from mmpipe.config import Config, parse_config


class MixedCorpus:
    """A small corpus of every modality, and what a night that nobody disturbs makes of it."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder = folder
        write_mixed(folder / "media")
        assert forks.run("fill", self.place("whole")) == 0, forks.error
        self.store = folder / "whole" / "store"
        self.digest = tree_digest(self.store)
        assert any("video-hogdct@1/data" in name for name in self.digest)

    def place(self, name: str, workers: int = 1) -> Path:
        """Return the config of an empty store of its own over the same files."""
        table = config_table(self.folder, shard_clips=4)
        table |= {"store": str(self.folder / name / "store"), "engine": {"workers": workers}}
        (self.folder / name).mkdir()
        return write_config(self.folder / name, table)


def load(path: Path) -> Config:
    """Return the config that a child reads."""
    return parse_config(json.loads(path.read_text()))
