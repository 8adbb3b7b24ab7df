"""What `deployments.apply` brings to a server that others keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.apply import main, read_place
from mmpipe.errors import ConfigError


@pytest.fixture
def told(tmp_path: Path) -> dict[str, str]:
    config = tmp_path / "mmpipe.toml"
    config.write_text('store = "store"\n[corpora.street]\nroot = "raw"\n')
    return {
        "PREFECT_API_URL": "http://server:4200/api",
        "PREFECT_API_AUTH_STRING": "admin:word",
        "MMPIPE_CONFIG": str(config),
    }


def test_the_environment_says_where_to(told: dict[str, str]) -> None:
    place = read_place(told)
    assert (place.address, place.auth, place.pools) == ("http://server:4200", "admin:word", ("cpu",))
    assert read_place({**told, "MMPIPE_HEAVY_POOL": "gpu"}).pools == ("cpu", "gpu")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREFECT_API_URL", ""),
        ("PREFECT_API_URL", "http://server:4200"),
        ("MMPIPE_HEAVY_POOL", "tpu"),
        ("MMPIPE_CONFIG", "/nowhere/mmpipe.toml"),
    ],
)
def test_what_is_wrong_in_it_is_named(told: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        read_place({**told, name: value})
    assert "admin:word" not in str(caught.value)


def test_the_command_ends_with_what_is_wrong(
    told: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**told, "MMPIPE_HEAVY_POOL": "tpu"}.items():
        monkeypatch.setenv(name, value)
    assert main() == ConfigError.exit_code
    assert "apply: MMPIPE_HEAVY_POOL" in capsys.readouterr().err
