"""`mmpipe new` and `mmpipe check extractor`, as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typed_projects import Type

GOLDEN = Path(__file__).resolve().parents[1] / "fixtures" / "golden"


def test_a_package_is_planned_then_written_and_then_left_alone(tmp_path: Path, mmpipe: Type) -> None:
    line = ("new", "extractor", "audio-rhythm", "--into", "mine")
    planned = mmpipe(tmp_path, *line, "--dry-run", "--json")
    assert planned.code == 0 and not (tmp_path / "mine").exists()
    written = mmpipe(tmp_path, *line, "--json")
    assert written.json() == planned.json()
    assert all((tmp_path / row["file"]).is_file() for row in written.json())
    assert "next: pip install -e mine/mmpipe-audio-rhythm" in written.err
    again = mmpipe(tmp_path, *line)
    assert again.code == 3 and "is there already, and is not touched" in again.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("new", "model", "x"), 2, "extractor"),
        (("new", "extractor", "rhythm"), 3, "--modality"),
        (("new", "fusion", "concat"), 3, "is there already"),
        (("check", "extractor", "nonesuch"), 3, "no extractor named 'nonesuch'"),
    ],
)
def test_a_line_that_cannot_be_is_answered(
    tmp_path: Path, mmpipe: Type, words: tuple[str, ...], code: int, said: str
) -> None:
    told = mmpipe(tmp_path, *words)
    assert told.code == code and said in told.err
    assert list(tmp_path.iterdir()) == []


def test_an_extractor_is_checked_against_its_golden(tmp_path: Path, mmpipe: Type) -> None:
    told = mmpipe(tmp_path, "check", "extractor", "audio-logmel", "--golden", str(GOLDEN))
    assert (told.code, told.out.strip()) == (0, "audio-logmel: it gives what its golden says")
    assert mmpipe(tmp_path, "check", "extractor", "audio-logmel", "--golden", str(GOLDEN), "--json").json() == []
    missing = mmpipe(tmp_path, "check", "extractor", "audio-logmel")
    assert missing.code == 1 and "audio-logmel@1 has no golden in tests/golden" in missing.out


def test_a_golden_is_recorded_once(tmp_path: Path, mmpipe: Type) -> None:
    line = ("check", "extractor", "text-words", "--golden", "g", "--record")
    assert mmpipe(tmp_path, *line, "--dry-run").code == 0 and not (tmp_path / "g").exists()
    assert mmpipe(tmp_path, *line, "--json").json() == [{"file": "g/text-words@1.json"}]
    path = tmp_path / "g" / "text-words@1.json"
    assert path.read_bytes() == (GOLDEN / path.name).read_bytes()
    path.write_text(path.read_text().replace('"values": [0.', '"values": [7.', 1))
    refused = mmpipe(tmp_path, *line)
    assert refused.code == 3 and "set version = 2 and record it" in refused.err
