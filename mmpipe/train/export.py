"""The network as one graph file that runs without mmpipe, and how far it is from the network itself."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping
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
    """Parity of an exported graph: the largest difference of answers and z, per unseen shape.

    A probability's is absolute; quantities in the thousands differ by more in their last bit, so that of a number
    beyond 1 is a share of it.
    """

    file: Path
    nbytes: int
    differences: tuple[float, ...]  # one per entry of UNSEEN_SHAPES
    seconds: float

    @property
    def max_difference(self) -> float:
        """Return the worst of the differences."""
        return max(self.differences)


class ExportedForward(nn.Module):
    """What the graph computes: features -> (answers [B, ...], of classes their probabilities [B, K], and z [B, D]).

    Every feature is an argument, (x [B, T, D] float32, mask [B, T] bool); a missing one has an all-False mask.
    """

    def __init__(self, model: FusionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """Run the network."""
        out = self.model(features)
        return self.model.answers(out), out.z_BD


def export_model(model: FusionModel, directory: Path) -> ExportReport:
    """Write `model.pt2` (torch.export; any number of clips and frames), read it back, and compare."""
    started = time.perf_counter()
    program = capture_graph(model)
    target = io.make_directory(directory) / GRAPH_NAME
    _save(program, target)
    graph = torch.export.load(target).module()
    return ExportReport(
        file=target,
        nbytes=target.stat().st_size,
        differences=measure_differences(model, graph),
        seconds=time.perf_counter() - started,
    )


def capture_graph(model: FusionModel) -> torch.export.ExportedProgram:
    """Return the network as a graph whose numbers of clips and frames are free."""
    batch = torch.export.Dim("clips", min=1)
    shapes = {
        entry.feature: ({0: batch, **({1: torch.export.Dim.DYNAMIC} if entry.kind is FeatureKind.SEQUENCE else {})},)
        * 2
        for entry in model.spec.inputs
    }
    with warnings.catch_warnings():
        # Recurrent layers hold their weights a second time, as plain views: torch asks to register those.
        warnings.filterwarnings("ignore", message=".*_flat_weights")
        features = (example_features(model, *EXAMPLE_SHAPE),)
        return torch.export.export(ExportedForward(model.eval()), features, dynamic_shapes=(shapes,))


def measure_differences(model: FusionModel, graph: Callable[[Features], tuple[Tensor, Tensor]]) -> tuple[float, ...]:
    """Return how far a graph is from its network on each of UNSEEN_SHAPES, as `ExportReport` has it."""
    eager = ExportedForward(model.eval())
    with on_threads(1), torch.no_grad():
        return tuple(_difference(eager, graph, example_features(model, *shape)) for shape in UNSEEN_SHAPES)


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


def _difference(eager: nn.Module, graph: Callable[[Features], tuple[Tensor, Tensor]], features: Features) -> float:
    """Return the largest difference, as a share of numbers beyond 1; one that is not a number is the largest of all."""
    largest = torch.finfo(torch.float32).max
    pairs = [(left.double(), right.double()) for left, right in zip(eager(features), graph(features), strict=True)]
    shares = ((left - right).abs() / left.abs().clamp(min=1) for left, right in pairs)
    return max(float(share.nan_to_num(largest, largest).max()) for share in shares)
