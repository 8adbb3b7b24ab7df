"""What every encoder must do, whatever its kind, and what each kind says it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmpipe.config import EncoderConfig, EncoderKind
from mmpipe.errors import ConfigError
from mmpipe.fusion.encoders.base import last_real, masked_max, masked_mean, reversed_real
from mmpipe.fusion.encoders.registry import KINDS, make_encoder, reads_steps
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.preprocess import pool_segments, pool_steps
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.train.export import export_model
from mmpipe.types import FeatureKind

BATCH, STEPS, DIM, WIDTH = 6, 9, 8, 8
KIND_NAMES = [kind.value for kind in EncoderKind]
LENGTHS_B = torch.tensor([9, 1, 5, 0, 9, 3])
AUDIO = InputSpec(feature="audio-logmel@1", kind=FeatureKind.SEQUENCE, dim=DIM)
TEXT = InputSpec(feature="text-hash@1", kind=FeatureKind.VECTOR, dim=5)


def config_of(kind: str, **changes: Any) -> EncoderConfig:
    return EncoderConfig(**{"kind": kind, "steps": STEPS, "width": WIDTH, "components": 0, "layers": 2, **changes})


def encoder_of(kind: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    return make_encoder(DIM, config_of(kind, **changes), 0.0).eval()


def inputs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    x_BSK = torch.randn(BATCH, STEPS, DIM, generator=torch.Generator().manual_seed(seed))
    return x_BSK, torch.arange(STEPS) < LENGTHS_B[:, None]


@pytest.mark.parametrize("changes", [{}, {"bidirectional": True, "hidden_layers": 1, "layers": 1}])
@pytest.mark.parametrize("kind", KIND_NAMES)
def test_shapes_and_every_parameter_learns(kind: str, changes: dict[str, Any]) -> None:
    encoder = encoder_of(kind, **changes)
    encoded = encoder(*inputs())
    assert encoded.tokens_BSD.shape == (BATCH, STEPS, WIDTH) and encoded.vector_BD.shape == (BATCH, WIDTH)
    assert torch.isfinite(encoded.tokens_BSD).all() and torch.isfinite(encoded.vector_BD).all()
    if parameters := dict(encoder.named_parameters()):
        mask_BS = inputs()[1]
        (encoded.vector_BD.square().sum() + encoded.tokens_BSD[mask_BS].square().sum()).backward()
        for name, parameter in parameters.items():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", KIND_NAMES)
def test_padding_does_not_show(kind: str, bidirectional: bool) -> None:
    encoder = encoder_of(kind, bidirectional=bidirectional)
    x_BSK, mask_BS = inputs()
    expected = encoder(x_BSK, mask_BS)
    real_B = LENGTHS_B > 0
    other = encoder(torch.where(mask_BS[:, :, None], x_BSK, 1e4), mask_BS)
    assert torch.equal(other.tokens_BSD[mask_BS], expected.tokens_BSD[mask_BS])
    assert torch.equal(other.vector_BD[real_B], expected.vector_BD[real_B])
    short = encoder(x_BSK[2:3, :5], mask_BS[2:3, :5])  # alone, and without the padding
    torch.testing.assert_close(short.vector_BD, expected.vector_BD[2:3], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(short.tokens_BSD, expected.tokens_BSD[2:3, :5], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in KIND_NAMES if KINDS[EncoderKind(kind)].reads_steps])
def test_the_order_of_steps_counts_where_it_is_read(kind: str) -> None:
    x_BSK, mask_BS = inputs()
    encoder = encoder_of(kind)
    turned = encoder(reversed_real(x_BSK, mask_BS), mask_BS).vector_BD
    changed_B = (turned - encoder(x_BSK, mask_BS).vector_BD).abs().amax(1) > 1e-6
    assert changed_B.tolist() == (LENGTHS_B > 1).tolist()


def test_a_causal_network_does_not_look_ahead_and_reaches_as_far_as_it_says() -> None:
    encoder = encoder_of("tcn", kernel=3, layers=2)  # 1 + 2 * 2 * 3 = 13 steps
    x_BSK = torch.randn(1, 20, DIM, generator=torch.Generator().manual_seed(1)).requires_grad_()
    encoder(x_BSK, torch.ones(1, 20, dtype=torch.bool)).tokens_BSD[0, 15].sum().backward()
    assert x_BSK.grad is not None
    seen = x_BSK.grad[0].abs().amax(1).nonzero()[:, 0].tolist()
    assert seen == list(range(15 - 12, 16))


@pytest.mark.parametrize(("kind", "network"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_recurrent_layers_are_torchs_on_packed_sequences(kind: str, network: Any) -> None:
    encoder = encoder_of(kind, bidirectional=True, layers=1)
    plain = network(DIM, WIDTH, batch_first=True, bidirectional=True)
    plain.load_state_dict(
        {
            **encoder.forwards[0].state_dict(),
            **{f"{name}_reverse": value for name, value in encoder.backwards[0].state_dict().items()},
        }
    )
    x_BSK, mask_BS = inputs()
    real_B = LENGTHS_B > 0
    packed = nn.utils.rnn.pack_padded_sequence(x_BSK[real_B], LENGTHS_B[real_B], True, enforce_sorted=False)
    out, state = plain(packed)
    padded_BSD, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
    last_2BD = state[0] if kind == "lstm" else state
    encoded = encoder(x_BSK[real_B], mask_BS[real_B])
    merge = encoder.merges[0]
    torch.testing.assert_close(encoded.tokens_BSD[mask_BS[real_B]], merge(padded_BSD)[mask_BS[real_B]])
    torch.testing.assert_close(encoded.vector_BD, merge(torch.cat(list(last_2BD), 1)))


def test_a_convolution_is_numpys() -> None:
    encoder = encoder_of("cnn", layers=1, kernel=3)
    x_BSK, mask_BS = inputs()
    convolution = encoder.convolutions[0]
    weight_DKT, bias_D = convolution.weight.detach().double().numpy(), convolution.bias.detach().double().numpy()
    row_SK = np.pad(x_BSK[2, :5].double().numpy(), ((1, 1), (0, 0)))
    tokens = [np.einsum("dkt,tk->d", weight_DKT, row_SK[step : step + 3]) + bias_D for step in range(5)]
    expected_SD = nn.functional.gelu(torch.from_numpy(np.array(tokens))).numpy()
    encoded = encoder(x_BSK, mask_BS)
    np.testing.assert_allclose(encoded.tokens_BSD[2, :5].detach(), expected_SD, atol=1e-6)
    np.testing.assert_allclose(encoded.vector_BD[2].detach(), expected_SD.max(0), atol=1e-6)


def test_what_sums_up_leaves_padding_out() -> None:
    x_BSK, mask_BS = inputs()
    for row, length in enumerate(LENGTHS_B.tolist()):
        real_SK = x_BSK[row, :length]
        zeros_K = torch.zeros(DIM)
        torch.testing.assert_close(masked_mean(x_BSK, mask_BS)[row], real_SK.mean(0) if length else zeros_K)
        torch.testing.assert_close(masked_max(x_BSK, mask_BS)[row], real_SK.amax(0) if length else zeros_K)
        assert torch.equal(last_real(x_BSK, mask_BS)[row], x_BSK[row, max(length - 1, 0)])
        turned_SK = reversed_real(x_BSK, mask_BS)[row]
        assert torch.equal(turned_SK, torch.cat([real_SK.flip(0), x_BSK[row, length:]]))


def test_steps_are_kept_as_they_are_and_only_longer_sequences_are_averaged() -> None:
    x_BSK, mask_BS = inputs()
    kept_BSK, kept_BS = pool_steps(x_BSK, mask_BS, 12)
    assert torch.equal(kept_BS, torch.nn.functional.pad(mask_BS, (0, 3)))
    assert torch.equal(kept_BSK[:, :STEPS], torch.where(mask_BS[:, :, None], x_BSK, 0.0))
    short_BSK, short_BS = pool_steps(x_BSK, mask_BS, 4)
    assert short_BS.sum(1).tolist() == LENGTHS_B.clamp(max=4).tolist()
    long_B = LENGTHS_B >= 4
    assert torch.equal(short_BSK[long_B], pool_segments(x_BSK, mask_BS, 4)[long_B])
    again_BSK, again_BS = pool_steps(short_BSK, short_BS, 4)
    assert torch.equal(again_BSK, short_BSK) and torch.equal(again_BS, short_BS)


def model_of(kind: str, fusion: str = "concat", **changes: Any) -> FusionModel:
    torch.manual_seed(0)
    encoders = {AUDIO.feature: config_of(kind, **changes)}
    encoder = EncoderConfig(width=WIDTH, components=0)
    return FusionModel(
        ModelSpec(fusion=fusion, inputs=(AUDIO, TEXT), classes=("a", "b"), encoder=encoder, encoders=encoders)
    ).eval()


@pytest.mark.parametrize("fusion", ["concat", "transformer"])
@pytest.mark.parametrize("kind", KIND_NAMES)
def test_a_model_of_steps_does_not_see_padding_nor_what_is_missing(kind: str, fusion: str) -> None:
    model = model_of(kind, fusion)
    x_BSK, mask_BS = inputs()
    text = (torch.randn(BATCH, 1, TEXT.dim, generator=torch.Generator().manual_seed(1)), torch.ones(BATCH, 1).bool())
    expected = model({AUDIO.feature: (x_BSK, mask_BS), TEXT.feature: text})
    grown = (torch.nn.functional.pad(x_BSK, (0, 0, 0, 30), value=7.0), torch.nn.functional.pad(mask_BS, (0, 30)))
    found = model({AUDIO.feature: grown, TEXT.feature: text})
    torch.testing.assert_close(found.logits_BK, expected.logits_BK, rtol=0, atol=1e-6)
    absent = model({TEXT.feature: text})
    gone = LENGTHS_B == 0
    torch.testing.assert_close(absent.logits_BK[gone], expected.logits_BK[gone], rtol=0, atol=1e-6)
    assert torch.isfinite(expected.z_BD).all()


@pytest.mark.parametrize(
    "kind", ["lstm", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("cnn", "transformer"))]
)
def test_a_model_of_steps_becomes_one_graph(kind: str, tmp_path: Any) -> None:
    assert export_model(model_of(kind, bidirectional=True), tmp_path).max_difference < 1e-5


def test_a_spec_keeps_the_encoders_of_single_inputs_and_old_specs_stay_as_they_were() -> None:
    spec = model_of("gru").spec
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert spec.encoder_of(AUDIO.feature).kind is EncoderKind.GRU and spec.encoder_of(TEXT.feature) == spec.encoder
    plain = ModelSpec(fusion="concat", inputs=(AUDIO, TEXT), classes=("a", "b")).to_json()
    assert "encoders" not in plain
    assert set(plain["encoder"]) == {"segments", "components", "width", "hidden_layers"}
    assert reads_steps(spec.encoder_of(AUDIO.feature)) and not reads_steps(spec.encoder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "cnn", "kernel": 4}, "must be odd"),
        ({"kind": "transformer", "width": 10, "heads": 4}, "cannot be shared"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EncoderConfig(**changes)


def test_an_identity_of_another_width_and_strangers_are_refused() -> None:
    with pytest.raises(ConfigError, match="components = 16"):
        encoder_of("identity", width=16)
    with pytest.raises(ConfigError, match="which are no inputs"):
        ModelSpec(fusion="concat", inputs=(AUDIO, TEXT), classes=("a", "b"), encoders={"video": EncoderConfig()})
