"""Parts of a network are held by feature, also where its name has a dot."""

from __future__ import annotations

import torch
from torch import nn

from mmpipe.config import EncoderConfig
from mmpipe.fusion.byfeature import ByFeature
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

CLEAN, PLAIN = "audio-logmel.clean@1", "audio-logmel@1"


def test_names_come_back_as_they_were_given() -> None:
    parts = ByFeature()
    parts[CLEAN], parts[PLAIN] = nn.Linear(2, 1), nn.Linear(2, 1)
    assert list(parts) == [CLEAN, PLAIN] == list(parts.keys()) == [name for name, _ in parts.items()]
    assert parts[CLEAN] is not parts[PLAIN] and CLEAN in parts and "other@1" not in parts
    assert {name.rpartition(".")[0] for name in parts.state_dict()} == {"audio-logmel:clean@1", PLAIN}


def test_a_network_reads_a_feature_and_its_rendition() -> None:
    inputs = tuple(InputSpec(feature=name, kind=FeatureKind.VECTOR, dim=3) for name in (PLAIN, CLEAN))
    encoder = EncoderConfig(components=0, width=4)
    model = FusionModel(ModelSpec(fusion="concat", inputs=inputs, classes=("no", "yes"), encoder=encoder)).eval()
    torch.manual_seed(0)
    batch = {name: (torch.randn(5, 1, 3), torch.ones(5, 1, dtype=torch.bool)) for name in (PLAIN, CLEAN)}
    out = model(batch)
    assert out.logits_BK.shape == (5, 2)
    assert set(out.per_modality) == {PLAIN, CLEAN}
    batch[CLEAN] = (batch[CLEAN][0] + 1, batch[CLEAN][1])
    assert not torch.equal(model(batch).logits_BK, out.logits_BK)
