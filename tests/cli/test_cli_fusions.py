"""The line that tells every fusion: formula, source, options."""

from __future__ import annotations

from pathlib import Path

from typed_projects import Type

from mmpipe.fusion.registry import fusion_names

NAMES = [name for name in fusion_names() if not name.startswith("test_")]


def test_every_fusion_says_its_formula_its_source_and_when_to_use_it(tmp_path: Path, mmpipe: Type) -> None:
    told = {row["name"]: row for row in mmpipe(tmp_path, "fusions", "--json").json()}
    assert set(NAMES) <= set(told)
    for name in NAMES:
        assert "=" in told[name]["formula"] and told[name]["formula"].endswith("."), name
        assert told[name]["about"].endswith("."), name
        assert told[name]["use"] and (told[name]["sources"] or name == "unimodal"), name
        assert all(option["description"] and option["type"] for option in told[name]["options"]), name
    assert told["gmu"]["sources"] == ["Arevalo et al. 2017"]
    assert told["late_product"]["sources"] == ["Hinton 2002", "Kittler et al. 1998"]
    assert told["early_weighted"]["sources"] == ["Baltrusaitis, Ahuja, Morency 2019"]
    table = mmpipe(tmp_path, "fusions").out
    assert all(f"\n{name} " in table for name in NAMES)
    assert "rank = 4" in table and 'cell = "gru", layers = 1' in table


def test_one_fusion_is_told_with_what_its_options_mean(tmp_path: Path, mmpipe: Type) -> None:
    out = mmpipe(tmp_path, "fusions", "early_concat").out
    assert "EF-LSTM" in out and "Use it where" in out
    assert "models.NAME.fusion_options.early_concat.cell" in out and "gru | lstm | transformer" in out
    assert "options: none" in mmpipe(tmp_path, "fusions", "gmu").out
    told = mmpipe(tmp_path, "fusions", "nonesuch")
    assert told.code == 3 and "no fusion named 'nonesuch'; valid names are: " in told.err
