"""What the tests of a plug-in call: the contract of an extractor, a fusion and a source, each held by one function."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mmpipe.config import explain_validation
from mmpipe.errors import ConfigError, SampleError
from mmpipe.features.extractor import Extractor
from mmpipe.features.golden import Maker, record_golden, replay_golden
from mmpipe.features.registry import ExtractorClass
from mmpipe.sources.plugged import Source
from mmpipe.sources.safe_names import NameBook, safe_name

if TYPE_CHECKING:
    from mmpipe.fusion.base import Fusion
    from mmpipe.fusion.model import FusionModel
    from mmpipe.fusion.spec import ModelSpec

_NO_OBJECT = "no/such/object.of-this-source"


def check_extractor(kind: ExtractorClass, golden: Path) -> None:
    """Replay an extractor over small made clips; raise AssertionError where it does not give what its golden says."""
    faults = replay_golden(_maker(kind), golden)
    assert not faults, "\n".join(faults)


def record_extractor(kind: ExtractorClass, golden: Path) -> Path:
    """Record what a version gives, once; return the file. Raise ConfigError where it gave something else before."""
    return record_golden(_maker(kind), golden)


def _maker(kind: ExtractorClass) -> Maker:
    def make(params: Mapping[str, Any]) -> Extractor:
        try:
            return kind(kind.Params(**params))
        except ValidationError as error:
            raise ConfigError(explain_validation(error, kind.Params.__name__, kind.Params)) from error

    return make


def check_fusion(kind: type[Fusion], options: Mapping[str, Any] | None = None) -> None:
    """Build networks with a fusion and hold it to its contract; raise AssertionError where it is broken.

    Answers are finite whatever is missing, do not change by what is missing or by the other clips of a batch, and
    every gradient is finite.
    """
    import torch

    from mmpipe.fusion.model import FusionModel
    from mmpipe.fusion.registry import lent_name

    name = f"checked_{kind.__module__}_{kind.__qualname__}".replace(".", "_")
    with lent_name(name, kind):
        for num_inputs in (2, 3):
            torch.manual_seed(num_inputs)
            _check_network(FusionModel(_spec_of(name, num_inputs, dict(options or {}))))


def _spec_of(name: str, num_inputs: int, options: dict[str, Any]) -> ModelSpec:
    from mmpipe.config import EncoderConfig
    from mmpipe.fusion.spec import InputSpec, ModelSpec
    from mmpipe.types import FeatureKind

    inputs = tuple(InputSpec(feature=f"made-{k}", kind=FeatureKind.SEQUENCE, dim=3 + k) for k in range(num_inputs))
    encoder = EncoderConfig(width=8)
    return ModelSpec(fusion=name, inputs=inputs, classes=("no", "yes", "maybe"), encoder=encoder, options=options)


def _check_network(model: FusionModel) -> None:
    import torch

    generator = torch.Generator().manual_seed(7)
    batch = {}
    for entry in model.spec.inputs:
        x_BTD = torch.randn(5, 4, entry.dim, generator=generator)
        mask_BT = torch.ones(5, 4, dtype=torch.bool)
        batch[entry.feature] = (x_BTD, mask_BT)
    batch["made-0"][1][1] = False  # clip 1 lacks one modality, clip 2 lacks all
    for _, mask_BT in batch.values():
        mask_BT[2] = False

    out = model(batch)
    assert out.logits_BK is not None and out.logits_BK.shape == (5, 3), "it must lead to one answer per clip"
    assert bool(torch.isfinite(out.logits_BK).all()), "an answer is not finite: of clip 2 nothing is present"
    out.logits_BK.sum().backward()
    wrong = [name for name, one in model.named_parameters() if one.grad is not None and not one.grad.isfinite().all()]
    assert not wrong, f"gradients are not finite: {wrong}"

    model.eval()
    with torch.no_grad():
        logits_BK = model(batch).logits_BK
        loud = {name: (torch.where(mask[:, :, None], x, 1e3), mask) for name, (x, mask) in batch.items()}
        assert torch.allclose(model(loud).logits_BK, logits_BK, atol=1e-5), "what is missing changes an answer"
        few = {name: (x[:2], mask[:2]) for name, (x, mask) in batch.items()}
        beside = "an answer depends on the other clips of its batch"
        assert torch.allclose(model(few).logits_BK, logits_BK[:2], atol=1e-5), beside
        for name, share_B in model(batch).weights.items():
            assert bool(((share_B >= -1e-6) & (share_B <= 1 + 1e-6)).all()), f"the share of {name} is not in [0, 1]"


def check_source(source: Source, change: Callable[[], object] | None = None) -> None:
    """List and read a source as a mirror does, and hold it to its contract; raise AssertionError where it is broken.

    `change` alters the bytes of an object: its stamp must then be another.
    """
    found = list(source.objects())
    assert found, "the test's source must hold something"
    assert sorted(found, key=_by_name) == sorted(source.objects(), key=_by_name), "two listings of the same are unlike"
    book = NameBook()
    for entry in found:
        assert entry.stamp, f"{entry.name!r} has no stamp: no change of it would ever be seen"
        book.add(safe_name(os.fsencode(entry.name)))
        with source.open(entry.name) as file:
            data = file.read()
        with source.open(entry.name) as file:
            again = b"".join(iter(lambda reading=file: reading.read(7), b""))  # type: ignore[misc]
        assert data == again, f"{entry.name!r} reads otherwise in pieces"
        assert entry.nbytes in (-1, len(data)), f"{entry.name!r} has {len(data)} bytes, its size says {entry.nbytes}"
    try:
        source.open(_NO_OBJECT).close()
    except (FileNotFoundError, SampleError):
        pass
    else:
        raise AssertionError("what is not there must raise FileNotFoundError")
    if change is not None:
        change()
        stamps = {entry.name: entry.stamp for entry in found}
        moved = [entry.name for entry in source.objects() if stamps.get(entry.name) != entry.stamp]
        assert moved, "other bytes need another stamp: this change would never be fetched"


def _by_name(entry: Any) -> str:
    return str(entry.name)
