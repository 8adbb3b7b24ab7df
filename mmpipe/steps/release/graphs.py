"""The graphs of a release that run without mmpipe, and how far each is from its network: `parity.json`."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmpipe.io import canonical_json, remove_file, replace_bytes
from mmpipe.registry.card import CardGraph
from mmpipe.steps.release.evaluate import PARITY_NAME, PARITY_TOLERANCE

if TYPE_CHECKING:
    from mmpipe.fusion.model import FusionModel
    from mmpipe.train.export import ExportReport

PT2, ONNX = "model.pt2", "model.onnx"
NO_ONNX = "install mmpipe[onnx]"
ONNX_IS_OFF = "release.onnx is off"
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")  # of the extra mmpipe[onnx]


def export_graphs(folder: Path, *, onnx: bool) -> None:
    """Write the graphs of the weights in a folder beside them, once, and note how far they are from the network.

    `max_difference` is the worst of those that were made. What cannot be said in ONNX is noted with the reason. Of a
    network that is no graph (its goal says so) nothing is written.
    """
    from mmpipe.train.export import UNSEEN_SHAPES, export_model
    from mmpipe.train.weights import load_model

    if (folder / PARITY_NAME).exists():
        return
    model = load_model(folder)
    if not model.goal.can_export:
        return
    made = {PT2: _facts(export_model(model, folder), {"torch": importlib.metadata.version("torch")})}
    found, why_not = _export_onnx(model, folder) if onnx else ({}, ONNX_IS_OFF)
    table = {
        "tolerance": PARITY_TOLERANCE,
        "max_difference": max(entry["max_difference"] for entry in (made | found).values()),
        "shapes": [{"clips": clips, "frames": frames} for clips, frames in UNSEEN_SHAPES],
        "graphs": made | found,
        "not_made": {ONNX: why_not} if why_not else {},
    }
    replace_bytes(folder / PARITY_NAME, canonical_json(table))


def told_graphs(folder: Path) -> tuple[CardGraph, ...]:
    """Return what the card says of the graphs beside some weights; nothing before they are exported."""
    if not (folder / PARITY_NAME).exists():
        return ()
    table = json.loads((folder / PARITY_NAME).read_bytes())
    asked = ", ".join(f"{shape['clips']} x {shape['frames']}" for shape in table["shapes"])
    made = [
        CardGraph(
            file=name,
            max_difference=entry["max_difference"],
            tolerance=table["tolerance"],
            asked=asked,
            made_by=", ".join(f"{package} {version}" for package, version in sorted(entry["versions"].items())),
        )
        for name, entry in sorted(table["graphs"].items())
    ]
    return (*made, *(CardGraph(file=name, why_not=why) for name, why in sorted(table["not_made"].items())))


def onnx_missing() -> tuple[str, ...]:
    """Return what of mmpipe[onnx] is not installed."""
    return tuple(name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None)


def _export_onnx(model: FusionModel, folder: Path) -> tuple[dict[str, Any], str]:
    """Return what is noted of the ONNX graph, and why there is none."""
    from mmpipe.train.export_onnx import NotExportable, export_onnx

    remove_file(folder / ONNX)  # of a killed run, whose reasons may have been others
    if onnx_missing():
        return {}, NO_ONNX
    try:
        report = export_onnx(model, folder)
    except NotExportable as error:
        return {}, str(error)
    versions = {name: importlib.metadata.version(name) for name in ("torch", *ONNX_PACKAGES)}
    return {ONNX: _facts(report, versions)}, ""


def _facts(report: ExportReport, versions: dict[str, str]) -> dict[str, Any]:
    return {
        "max_difference": report.max_difference,
        "differences": list(report.differences),
        "nbytes": report.nbytes,
        "versions": versions,
    }
