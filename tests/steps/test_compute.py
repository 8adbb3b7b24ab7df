"""Where extractors compute, and how long they stay loaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mmpipe.config import EngineConfig, Table
from mmpipe.errors import ConfigError
from mmpipe.features.alias import Alias
from mmpipe.features.extractor import MicroBatch, extractor_behind, micro_batch_of, units_of, uses_device
from mmpipe.features.naming import make_feature
from mmpipe.features.prepared import Prepared, Rendition
from mmpipe.steps.workers import compute
from mmpipe.steps.workers.compute import open_computer, resolve_device
from mmpipe.types import FeatureKind, FeatureSchema, FeatureValue, Modality, TextClip, TextNeeds


class ModelParams(Table):
    """Which model, and a knob that changes the speed alone."""

    model: str = "a"
    speed: int = 1


class Model:
    """A model, as far as loading goes."""

    name = "text-model"
    version = 1
    modality = Modality.TEXT
    weights_sha256 = ""
    Params = ModelParams
    needs = TextNeeds()
    schema = FeatureSchema(feature="text-model@1", modality=Modality.TEXT, kind=FeatureKind.VECTOR, dim=1)
    micro_batch = MicroBatch(max_clips=8, max_bytes=1 << 20)
    uses_device = True

    def __init__(self, params: ModelParams, weights: str = "") -> None:
        self.params = params
        self.weights_sha256 = weights
        self.loaded: list[str] = []
        self.units = (0, 0)

    def setup(self, device: str) -> None:
        self.loaded.append(device)

    def extract(self, batch):
        self.units = (self.units[0] + len(batch), 0)
        return [FeatureValue(array=np.ones(1, np.float32)) for _ in batch]


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(compute, "_kept", type(compute._kept)())
    yield


def test_a_model_is_loaded_once_whatever_its_features_are_called() -> None:
    model = Model(ModelParams())
    renamed = Alias(name="mine", extractor=Model(ModelParams()))
    noisy = Prepared(extractor=Model(ModelParams()), rendition_name="n", rendition=Rendition(modality="audio"))
    opened = {id(open_computer(extractor, "cpu")) for extractor in (model, renamed, noisy, model)}
    assert len(opened) == 1 and model.loaded == ["cpu"]


@pytest.mark.parametrize(
    "other",
    [Model(ModelParams(model="b")), Model(ModelParams(speed=2)), Model(ModelParams(), weights="f" * 64)],
    ids=["another model", "another speed", "other weights"],
)
def test_another_model_is_another_one(other: Model) -> None:
    assert open_computer(Model(ModelParams()), "cpu") is not open_computer(other, "cpu")
    assert other.loaded == ["cpu"]


def test_so_many_models_are_kept_and_the_one_used_longest_ago_goes() -> None:
    models = [Model(ModelParams(model=str(number))) for number in range(compute._MOST_KEPT + 1)]
    for model in models[:-1]:
        open_computer(model, "cpu")
    open_computer(models[0], "cpu")
    open_computer(models[-1], "cpu")
    assert [len(model.loaded) for model in models] == [1] * len(models)
    open_computer(models[0], "cpu")
    open_computer(models[1], "cpu")
    assert (models[0].loaded, models[1].loaded) == (["cpu"], ["cpu", "cpu"])


def test_a_device_is_for_those_that_use_one() -> None:
    model, plain = Model(ModelParams()), make_feature("text-ngrams")
    assert uses_device(model) and not uses_device(plain)
    computer = open_computer(model, "cuda:1")
    open_computer(plain, "cuda:1")
    assert model.loaded == ["cuda:1"]
    assert len(computer.extract([TextClip(text="a"), TextClip(text="b")])) == 2
    assert computer.units == (2, 0) == units_of(Alias(name="mine", extractor=model))


def test_what_an_extractor_wants_at_once_is_seen_through_its_names() -> None:
    renamed = Alias(name="mine", extractor=Model(ModelParams()))
    assert micro_batch_of(renamed) == MicroBatch(max_clips=8, max_bytes=1 << 20)
    assert micro_batch_of(make_feature("text-ngrams")) == MicroBatch()
    assert isinstance(extractor_behind(renamed), Model)
    with pytest.raises(ValueError, match="max_clips >= 1"):
        MicroBatch(max_clips=0)


@pytest.mark.parametrize(
    ("wish", "has_cuda", "device"),
    [
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
        ("cpu", True, "cpu"),
        ("cuda", True, "cuda"),
        ("cuda:1", True, "cuda:1"),
    ],
)
def test_the_device_of_a_run_is_what_was_asked_for_and_is_there(wish: str, has_cuda: bool, device: str) -> None:
    assert resolve_device(EngineConfig(device=wish), [Model(ModelParams())], lambda: has_cuda) == device


def test_a_device_that_is_not_there_is_refused_and_one_that_nobody_uses_is_not_looked_for() -> None:
    wish = EngineConfig(device="cuda")
    with pytest.raises(ConfigError, match=r'device = "cuda", .*"auto" or "cpu"'):
        resolve_device(wish, [Model(ModelParams())], lambda: False)

    def ask() -> bool:
        raise AssertionError("nobody uses it")

    assert resolve_device(wish, [make_feature("text-ngrams")], ask) == "cpu"


@pytest.mark.parametrize(("gpus", "wish", "device"), [(0.25, "auto", "cuda"), (0, "auto", "cpu"), (0, "cuda", "cuda")])
def test_the_workers_of_a_cluster_have_what_they_hold(gpus: float, wish: str, device: str) -> None:
    engine = EngineConfig.model_validate({"kind": "ray", "device": wish, "ray": {"gpus_per_worker": gpus}})
    assert resolve_device(engine, [Model(ModelParams())], lambda: False) == device


def test_torch_is_not_loaded_to_find_that_nobody_needs_it() -> None:
    code = (
        "import sys\n"
        "from mmpipe.config import EngineConfig\n"
        "from mmpipe.features.naming import make_feature\n"
        "from mmpipe.steps.workers.compute import resolve_device\n"
        "assert resolve_device(EngineConfig(), [make_feature('audio-logmel')]) == 'cpu'\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
