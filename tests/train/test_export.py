from __future__ import annotations

import os
import zipfile

import pytest
import torch
from test_loop import train
from toy_clips import OF_A_KIND

from mmpipe.fusion.registry import fusion_names
from mmpipe.train.export import ExportedForward, example_features, export_model

NAMES = [name for name in fusion_names() if not name.startswith("test_")]
# The two that are hardest to export; what every fusion exports alone is in tests/fusion.
DAILY = ("early_concat", "transformer")
EACH = [
    name if name in DAILY else pytest.param(name, marks=pytest.mark.slow if name in OF_A_KIND else pytest.mark.sweep)
    for name in NAMES
]


@pytest.mark.parametrize("fusion", EACH)
def test_the_graph_says_what_the_network_says(fusion, tmp_path):
    model = train(fusion).model
    report = export_model(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    assert report.nbytes == (tmp_path / "model.pt2").stat().st_size
    assert report.max_difference < 1e-6
    graph = torch.export.load(tmp_path / "model.pt2").module()
    for shape in ((1, 1), (70, 40)):
        features = example_features(model, *shape)
        for exported, eager in zip(graph(features), ExportedForward(model)(features), strict=True):
            torch.testing.assert_close(exported, eager, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_the_file_is_reproducible_and_holds_no_pickle_and_no_path(tmp_path):
    model = train("concat").model
    first = export_model(model, tmp_path / "one").file.read_bytes()
    assert export_model(model, tmp_path / "two").file.read_bytes() == first
    assert os.getcwd().encode() not in first
    with zipfile.ZipFile(tmp_path / "one" / "model.pt2") as archive:
        for name in archive.namelist():
            assert not archive.read(name).startswith((b"\x80\x02", b"PK")), name
