"""The network as an ONNX graph, beside `model.pt2`: for servers and languages that know no torch.

Inputs: NAME [clips, frames, D] float32 and NAME:mask [clips, frames] bool for every feature, in the order of the spec;
a feature that is not a sequence has one frame. Outputs: probabilities [clips, K], or `answers` of a goal that is not to
tell classes, and z [clips, D].
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmpipe import io
from mmpipe.config import Goal
from mmpipe.errors import MmpipeError
from mmpipe.fusion.model import FusionModel
from mmpipe.train.export import ExportReport, Features, capture_graph, measure_differences
from mmpipe.types import FeatureKind

if TYPE_CHECKING:
    from onnx import ModelProto

ONNX_NAME = "model.onnx"
OPSET = 20
MAX_BYTES = (2 << 30) - (1 << 20)  # a protobuf message ends at 2 GiB, and the weights are within


class NotExportable(MmpipeError):
    """The network has no ONNX graph, and here is why; `model.pt2` is not touched by that."""


def export_onnx(model: FusionModel, directory: Path) -> ExportReport:
    """Write `model.onnx` (any number of clips and frames), run it with onnxruntime, and compare.

    Equal weights give equal bytes, without a path of this machine. Raise NotExportable with the reason, writing
    nothing: a part that torch cannot say in ONNX, a graph that onnxruntime does not run, weights of 2 GiB.
    """
    started = time.perf_counter()
    if (nbytes := weight_bytes(model)) > MAX_BYTES:
        raise NotExportable(
            f"its weights have {nbytes / 2**30:.1f} GiB, and an ONNX file with the weights within ends at 2 GiB"
        )
    data = _converted(model)
    try:
        differences = measure_differences(model, _runner(model, data))
    except _runtime_errors() as error:
        raise NotExportable(f"onnxruntime does not run its graph: {_first_line(error)}") from error
    target = io.make_directory(directory) / ONNX_NAME
    staged = target.with_name(f".{ONNX_NAME}.tmp")
    staged.unlink(missing_ok=True)  # of a killed run
    io.replace_durable(target, data, staged)
    return ExportReport(file=target, nbytes=len(data), differences=differences, seconds=time.perf_counter() - started)


def weight_bytes(model: FusionModel) -> int:
    """Return the bytes of all tensors that a graph holds."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def output_names(model: FusionModel) -> list[str]:
    """Return what a graph's outputs are called."""
    return ["probabilities" if model.spec.goal is Goal.CLASSIFY else "answers", "z"]


def _converted(model: FusionModel) -> bytes:
    """Return the graph's bytes."""
    names = [name for entry in model.spec.inputs for name in (entry.feature, f"{entry.feature}:mask")]
    with warnings.catch_warnings():
        # The converter looks at trees in torch's old way, and warns of a cell's weights as `capture_graph` does.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*_flat_weights")
        try:
            made = torch.onnx.export(
                capture_graph(model),
                input_names=names,
                output_names=output_names(model),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise NotExportable(f"torch cannot say it in ONNX: {_first_line(error)}") from error
    assert made is not None
    proto = made.model_proto
    _strip(proto, model)
    return proto.SerializeToString(deterministic=True)


def _strip(proto: ModelProto, model: FusionModel) -> None:
    """Take out what is of this machine (stack traces, paths) and of the day, and name the axes."""
    proto.producer_name, proto.producer_version, proto.doc_string = "mmpipe", "", ""
    graph = proto.graph
    graph.name = "mmpipe"
    del graph.value_info[:]  # shapes in between: whoever runs it finds them anew
    for part in (proto, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    kinds = {entry.feature: entry.kind for entry in model.spec.inputs}
    for value in (*graph.input, *graph.output):
        axes = value.type.tensor_type.shape.dim
        axes[0].dim_param = "clips"
        feature = value.name.removesuffix(":mask")
        if kinds.get(feature) is FeatureKind.SEQUENCE:
            axes[1].dim_param = f"frames of {feature}"


def _runner(model: FusionModel, data: bytes) -> Callable[[Features], tuple[Tensor, Tensor]]:
    """Return the graph as a function of features, as `ExportedForward` is one."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def run(features: Features) -> tuple[Tensor, Tensor]:
        feed: dict[str, np.ndarray[Any, Any]] = {}
        for name in model.spec.features:
            x_BTD, mask_BT = features[name]
            feed |= {name: x_BTD.numpy(), f"{name}:mask": mask_BT.numpy()}
        probabilities_BK, z_BD = session.run(output_names(model), feed)
        return torch.from_numpy(probabilities_BK), torch.from_numpy(z_BD)

    return run


def _runtime_errors() -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises over a graph; it has no common ancestor but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
    return tuple(getattr(state, name) for name in names)


def _first_line(error: Exception) -> str:
    """Return what an error says first, without paths of this machine."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line.replace(os.getcwd(), ".")[:300]
