"""The verbs on other teams' datasets, as a person types them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from mmpipe.cli.main import main
from mmpipe.store.sample import write_sample_spine


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return the config of a store with six clips of film."""
    from mmpipe.store.layout import create_store

    write_sample_spine(create_store(tmp_path / "store"), "sample", "2026-11-20", 6, 4)
    (tmp_path / "media").mkdir()
    path = tmp_path / "mmpipe.toml"
    path.write_text('store = "store"\n[corpora.sample]\nroot = "media"\nfeatures = ["seen"]\n', encoding="utf-8")
    return path


def publish(path: Path, values: dict[str, np.ndarray]) -> Path:
    with tarfile.open(path, "w") as tar:
        for key, array in values.items():
            file = io.BytesIO()
            np.save(file, array)
            info = tarfile.TarInfo(f"{key}.emb.npy")
            info.size = len(file.getvalue())
            tar.addfile(info, io.BytesIO(file.getvalue()))
    return path


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def test_a_dataset_is_registered_filled_listed_and_verified(config, tmp_path, capsys):
    steps = {f"{number:06d}": np.full((number + 1, 3), number, np.float16) for number in range(4)}
    uri = publish(tmp_path / "theirs.tar", steps)
    options = ("--from", str(uri), "--match", "stem", "--config", str(config))
    assert run("feature", "add", "seen", *options, "--dry-run") == 0
    assert "would register" in capsys.readouterr().out
    assert run("feature", "add", "seen", *options, "--json") == 0
    facts = {row["what"]: row["value"] for row in json.loads(capsys.readouterr().out)}
    assert (facts["clips with a row"], facts["values"]) == (4, "video [T, 3] float32")
    assert run("verify", "--config", str(config)) == 0  # a schema without a first commit is no damage
    assert run("extract", "--config", str(config)) == 0
    capsys.readouterr()
    assert run("feature", "ls", "--json", "--config", str(config)) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["feature"], row["matched"], row["unmatched"], row["state"]) == ("seen@1", 4, 2, "complete")
    assert run("feature", "refresh", "seen", "--config", str(config)) == 0
    assert "as before" in capsys.readouterr().out
    assert run("verify", "--config", str(config)) == 0


def test_a_wrong_name_ends_with_the_way_out(config, capsys):
    assert run("feature", "refresh", "heard", "--config", str(config)) == 3
    assert "there are: none" in capsys.readouterr().err
