from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from mmpipe.config import load_config, parse_config
from mmpipe.config.keys import list_keys
from mmpipe.engine.worker_log import OFF
from mmpipe.errors import ConfigError
from mmpipe.steps.ground.watching import worker_log_level


def test_files_lie_beside_the_config_and_servers_and_the_terminal_stay(tmp_path: Path) -> None:
    path = tmp_path / "mmpipe.toml"
    path.write_text('[watch]\nlog_file = "logs/night.jsonl"\nlineage = "lineage.jsonl"\n')
    watch = load_config(path).watch
    assert (watch.log_file, watch.lineage) == (str(tmp_path / "logs/night.jsonl"), str(tmp_path / "lineage.jsonl"))
    path.write_text('[watch]\nlog_file = "-"\nlineage = "https://lineage.example/api/v1/lineage"\n')
    watch = load_config(path).watch
    assert (watch.log_file, watch.lineage) == ("-", "https://lineage.example/api/v1/lineage")
    assert watch.logs_alone().lineage == "" and watch.logs_alone().log_file == "-"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"log_format": "xml"}, "watch.log_format"),
        ({"lineage": "ftp://host/x"}, "must be a file, or begin with http:// or https://"),
        ({"lineage": "https://me:secret@host/x"}, "OPENLINEAGE_API_KEY"),
        ({"traces": "localhost:4317"}, "must begin with http:// or https://"),
        ({"send_timeout_s": 0}, "watch.send_timeout_s"),
        ({"lineage_namespace": "Two words"}, "watch.lineage_namespace"),
        ({"metrics": True}, "allowed here: lineage, lineage_namespace, log_file"),
    ],
)
def test_what_cannot_be_is_refused_by_name(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_config({"watch": table})


def test_the_environment_sets_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMPIPE_WATCH__LOG_FORMAT", "json")
    assert parse_config({}).watch.log_format == "json"


@pytest.mark.parametrize(("said", "level"), [("off", OFF), ("warning", logging.WARNING), ("info", logging.INFO)])
def test_workers_are_heard_from_a_level_on(said: str, level: int) -> None:
    assert worker_log_level(parse_config({"watch": {"worker_log": said}}).watch) == level


def test_every_key_says_what_it_means() -> None:
    keys = [key for key in list_keys() if key.key.startswith("watch.")]
    assert len(keys) == 8 and all(key.description for key in keys)
