from __future__ import annotations

import os

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from toy_clips import AUDIO, ENCODER, IMAGE, OF_A_KIND, spec_of

from mmpipe.config import BackboneConfig, BackboneKind, EncoderKind, Goal
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.registry import fusion_names
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.train.export import ExportedForward, example_features
from mmpipe.train.export_onnx import MAX_BYTES, NotExportable, export_onnx, weight_bytes
from mmpipe.types import FeatureKind

NAMES = [name for name in fusion_names() if not name.startswith("test_")]
DAILY = ("concat", "early_concat")
FUSIONS = [
    name if name in DAILY else pytest.param(name, marks=pytest.mark.slow if name in OF_A_KIND else pytest.mark.sweep)
    for name in NAMES
]
OTHERS_OPERATIONS = {EncoderKind.GRU}  # those of the lstm
STEPS = ENCODER.model_copy(update={"steps": 6})
TINY_BERT = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
BACKBONES = [
    BackboneConfig(kind=BackboneKind.SMALL_CNN),
    *(
        pytest.param(backbone, marks=mark, id=backbone.kind)
        for backbone, mark in (
            (BackboneConfig(kind=BackboneKind.RESNET50), pytest.mark.slow),
            (BackboneConfig(kind=BackboneKind.VGG16), pytest.mark.sweep),  # the operations of the small one
            (BackboneConfig(kind=BackboneKind.BERT, architecture=TINY_BERT), pytest.mark.slow),
        )
    ),
]


def network(spec: ModelSpec) -> FusionModel:
    torch.manual_seed(0)
    return FusionModel(spec).eval()


def require_equal(model: FusionModel, data: bytes) -> None:
    """Hold that onnxruntime says what the network says, at sizes that neither export nor its check has seen."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for shape in ((2, 1), (9, 30)):
        features = example_features(model, *shape)
        feed = {name: x.numpy() for name, (x, _) in features.items()}
        feed |= {f"{name}:mask": mask.numpy() for name, (_, mask) in features.items()}
        with torch.no_grad():
            wanted = ExportedForward(model)(features)
        for graph, eager in zip(session.run(None, feed), wanted, strict=True):
            np.testing.assert_allclose(graph, eager.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_runs_without_torch(fusion, tmp_path):
    model = network(spec_of(fusion))
    report = export_onnx(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert report.max_difference < 1e-5 and report.nbytes == report.file.stat().st_size
    require_equal(model, report.file.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.sweep if kind in OTHERS_OPERATIONS else ()) for kind in EncoderKind],
)
def test_every_encoder_runs_without_torch(kind, tmp_path):
    width = {"width": AUDIO.dim, "components": AUDIO.dim} if kind is EncoderKind.IDENTITY else {}
    encoder = ENCODER.model_copy(update={"kind": kind, "bidirectional": True, **width})
    spec = spec_of("transformer", encoder=encoder) if width else spec_of("concat", encoder=encoder)
    model = network(spec)
    require_equal(model, export_onnx(model, tmp_path).file.read_bytes())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_runs_without_torch(backbone, tmp_path):
    dim = 1 if backbone.kind is BackboneKind.BERT else 32 * 32 * 3
    stored = InputSpec(feature="stored-toy@1", kind=FeatureKind.SEQUENCE, dim=dim)
    encoders = {stored.feature: STEPS.model_copy(update={"backbone": backbone})}
    model = network(spec_of("concat", inputs=(IMAGE, stored), encoders=encoders))
    require_equal(model, export_onnx(model, tmp_path).file.read_bytes())


def test_quantities_in_the_thousands_are_held_to_their_own_size(tmp_path):
    model = network(spec_of("concat", goal=Goal.REGRESS, goal_options={"likelihood": "full"}))
    model.goal.fit(np.array([[4e6, -2e6, 0.1], [5e6, 1e6, 0.2], [9e6, 2e6, 0.4]], np.float32))
    report = export_onnx(model, tmp_path)
    assert report.max_difference < 1e-5
    assert [value.name for value in onnx.load(report.file).graph.output] == ["answers", "z"]


def test_equal_weights_give_equal_bytes_without_a_path_or_a_name_of_this_machine(tmp_path):
    model = network(spec_of("early_weighted"))
    data = export_onnx(model, tmp_path / "one").file.read_bytes()
    assert export_onnx(model, tmp_path / "two").file.read_bytes() == data
    graph = onnx.load_from_string(data)
    assert not graph.metadata_props and not graph.doc_string and graph.producer_name == "mmpipe"
    assert not any(node.metadata_props or node.doc_string for node in graph.graph.node)
    for word in (os.getcwd(), os.path.expanduser("~"), os.path.dirname(torch.__file__), ".py"):
        assert word.encode() not in data
    assert [value.name for value in graph.graph.input] == [
        "audio-toy@1", "audio-toy@1:mask", "image-toy@1", "image-toy@1:mask",
    ]  # fmt: skip
    axes = [[axis.dim_param or axis.dim_value for axis in v.type.tensor_type.shape.dim] for v in graph.graph.input]
    assert axes == [["clips", "frames of audio-toy@1", 12], ["clips", "frames of audio-toy@1"], ["clips", 1, 20],
                    ["clips", 1]]  # fmt: skip
    onnx.checker.check_model(graph, full_check=True)


def test_weights_of_two_gigabytes_have_no_graph_and_that_is_said(tmp_path):
    wide = InputSpec(feature="image-toy@1", kind=FeatureKind.VECTOR, dim=40_000_000)
    with torch.device("meta"):  # shapes without memory
        model = FusionModel(spec_of("unimodal", inputs=(wide,), encoder=ENCODER.model_copy(update={"components": 0})))
    assert weight_bytes(model) > MAX_BYTES
    with pytest.raises(NotExportable, match=r"its weights have \d\.\d GiB, and an ONNX file .* ends at 2 GiB"):
        export_onnx(model, tmp_path)
    assert not list(tmp_path.iterdir())
