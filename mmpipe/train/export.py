"""The network as one graph file that runs without mmpipe, and how far it is from the network itself."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from mmpipe import io
from mmpipe.fusion.model import FusionModel
from mmpipe.train.deterministic import on_threads
from mmpipe.types import FeatureKind

GRAPH_NAME = "model.pt2"
EXAMPLE_SHAPE = (3, 7)  # clips, frames
UNSEEN_SHAPES = ((1, 2), (5, 13))  # sizes that the export never saw; with 1 clip, and fewer frames than segments

Features = Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """Parity of an exported graph: the largest absolute difference of probabilities and z, per unseen shape."""

    file: Path
    nbytes: int
    differences: tuple[float, ...]  # one per entry of UNSEEN_SHAPES
    seconds: float

    @property
    def max_difference(self) -> float:
        """Return the worst of the differences."""
        return max(self.differences)


class ExportedForward(nn.Module):
    """What the graph computes: features -> (probabilities [B, K], z [B, D]).

    Every feature is an argument, (x [B, T, D] float32, mask [B, T] bool); a missing one has an all-False mask.
    """

    def __init__(self, model: FusionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """Run the network."""
        out = self.model(features)
        return out.logits_BK.softmax(1), out.z_BD


def export_model(model: FusionModel, directory: Path) -> ExportReport:
    """Write `model.pt2` (torch.export; any number of clips and frames), read it back, and compare."""
    started = time.perf_counter()
    eager = ExportedForward(model.eval())
    batch = torch.export.Dim("clips", min=1)
    shapes = {
        entry.feature: ({0: batch, **({1: torch.export.Dim.DYNAMIC} if entry.kind is FeatureKind.SEQUENCE else {})},)
        * 2
        for entry in model.spec.inputs
    }
    with warnings.catch_warnings():
        # Recurrent layers hold their weights a second time, as plain views: torch asks to register those.
        warnings.filterwarnings("ignore", message=".*_flat_weights")
        program = torch.export.export(eager, (example_features(model, *EXAMPLE_SHAPE),), dynamic_shapes=(shapes,))
    target = io.make_directory(directory) / GRAPH_NAME
    _save(program, target)
    with on_threads(1):
        graph = torch.export.load(target).module()
        differences = tuple(_difference(eager, graph, example_features(model, *shape)) for shape in UNSEEN_SHAPES)
    return ExportReport(
        file=target, nbytes=target.stat().st_size, differences=differences, seconds=time.perf_counter() - started
    )


def example_features(model: FusionModel, num_clips: int, num_frames: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Return made-up features of a shape, ragged, and with one modality of the last clip missing."""
    generator = torch.Generator().manual_seed(num_clips * 1000 + num_frames)
    out = {}
    for number, entry in enumerate(model.spec.inputs):
        frames = num_frames if entry.kind is FeatureKind.SEQUENCE else 1
        real_B1 = torch.randint(1, frames + 1, (num_clips, 1), generator=generator)
        mask_BT = torch.arange(frames) < real_B1
        mask_BT[-1] &= number > 0 or len(model.spec.inputs) == 1
        out[entry.feature] = (torch.randn(num_clips, frames, entry.dim, generator=generator), mask_BT)
    return out


def _save(program: torch.export.ExportedProgram, target: Path) -> None:
    """Save the graph without the example inputs (a pickle) and the stack traces (paths of this machine)."""
    program.example_inputs = None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    with TemporaryDirectory(dir=target.parent, prefix=".export-") as folder:
        staged = Path(folder) / target.name  # the archive's inner folder is named after the file
        torch.export.save(program, staged)
        io.sync_file(staged)
        os.replace(staged, target)
    io.sync_directory(target.parent)


def _difference(eager: nn.Module, graph: nn.Module, features: Features) -> float:
    with torch.no_grad():
        pairs = zip(eager(features), graph(features), strict=True)
        return max(float((left - right).abs().max()) for left, right in pairs)
