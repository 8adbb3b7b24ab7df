from __future__ import annotations

import numpy as np
import pytest
import torch
from test_loop import TEST, TRAIN, VAL
from toy_clips import AUDIO, IMAGE, ToySource, spec_of

from mmpipe.config import EncoderConfig, Imputation, TrainConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.imputers.registry import IMPUTERS, make_imputer
from mmpipe.fusion.imputers.spec import ImputerSpec
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.data import InMemory, tensors_of
from mmpipe.train.export import export_model
from mmpipe.train.imputation.network import ImputerFits, check_imputable
from mmpipe.train.loop import train_network
from mmpipe.train.weights import infer, load_model, save_model

CLIPS = 90


class PairedSource(ToySource):
    """Toy clips whose image is a line of their audio's mean, so that each tells of the other."""

    def __init__(self) -> None:
        super().__init__(CLIPS)
        mixing = np.random.default_rng(3).normal(size=(AUDIO.dim, IMAGE.dim))
        self.image = np.stack([x_TD.mean(0) for x_TD in self.audio]).astype("f4") @ mixing.astype("f4")


def train(method: Imputation, fusion="concat", source=None, imputers=None, **config):
    chosen = TrainConfig(epochs=2, batch_clips=16, impute=method, **config)
    source = source or PairedSource()
    return train_network(
        spec_of(fusion, dropout=chosen.dropout, modality_dropout=chosen.modality_dropout),
        source,
        source.labels_N,
        TRAIN,
        VAL,
        chosen,
        0,
        imputers=imputers,
    )


@pytest.mark.parametrize("method", [Imputation.MEAN, Imputation.RIDGE, Imputation.KNN])
@pytest.mark.parametrize("fusion", ["concat", "transformer"])
def test_a_network_sees_what_was_imputed_in_place_of_a_hole(method, fusion, tmp_path):
    source, trained = PairedSource(), train(method, fusion)
    model = trained.model
    assert trained.imputation is not None and trained.imputation.kept, trained.imputation.reason
    assert model.imputer is not None and model.spec.imputer is not None and model.spec.imputer.method is method
    features = tensors_of(source.gather(TEST), model.spec.features)
    prepared = model.prepare({name: value for name, value in features.items() if name != IMAGE.feature})
    by_hand = model.imputer(prepared)
    has_audio_N = TEST % 10 != 0
    assert by_hand[IMAGE.feature].present_B.numpy().tolist() == has_audio_N.tolist()
    kept, model.imputer = model.imputer, None
    with torch.no_grad():
        expected = model.forward_prepared(by_hand).z_BD.numpy()
        masked = model.forward_prepared(prepared).z_BD.numpy()
    model.imputer = kept
    found = infer(model, source, TEST, hidden=(IMAGE.feature,)).z_ND
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found - masked)[has_audio_N].max() > 1e-3
    np.testing.assert_allclose(found[~has_audio_N], masked[~has_audio_N], atol=1e-6)  # it has nothing at all


def test_it_is_saved_with_the_network_and_exported(tmp_path):
    source, model = PairedSource(), train(Imputation.KNN).model
    save_model(model, tmp_path / "one")
    save_model(load_model(tmp_path / "one"), tmp_path / "two")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    loaded = load_model(tmp_path / "two")
    assert loaded.spec == model.spec == ModelSpec.from_json(model.spec.to_json())
    for hidden in ((), (IMAGE.feature,), (AUDIO.feature,)):
        assert np.array_equal(infer(loaded, source, TEST, hidden).z_ND, infer(model, source, TEST, hidden).z_ND)


@pytest.mark.parametrize("method", sorted(IMPUTERS))
def test_a_graph_imputes_as_the_network_does(method, tmp_path):
    torch.manual_seed(0)
    model = FusionModel(spec_of("concat"))
    sizes = {Imputation.KNN: {"rows": 9, "neighbours": 2}, Imputation.GAN: {"hidden": 8, "noise": 3, "draws": 2}}
    imputer = make_imputer(ImputerSpec(method=method, sizes=sizes.get(method, {})), model.prepared_widths)
    for buffer in imputer.buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.randn(buffer.shape))
    model.impute_by(imputer)
    assert export_model(model, tmp_path).max_difference < 1e-5


def test_training_leaves_the_imputer_alone_and_fits_it_once_for_all_networks():
    fits = ImputerFits()
    first, second = (train(Imputation.RIDGE, fusion, imputers=fits).model for fusion in ("concat", "late_weighted"))
    assert first.imputer is not second.imputer
    for name, buffer in first.imputer.state_dict().items():
        assert torch.equal(buffer, second.imputer.state_dict()[name])
    assert not list(first.imputer.parameters()) and len(fits._made) == 1


def test_the_same_training_twice_gives_the_same_bytes():
    first, second = train(Imputation.RIDGE).model.state_dict(), train(Imputation.RIDGE).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first | second)


def test_without_it_a_network_is_what_it_was():
    plain, single = train(Imputation.OFF), train(Imputation.RIDGE, "unimodal")
    for trained in (plain, single):
        assert trained.imputation is None and trained.model.imputer is None
        assert "imputer" not in trained.model.spec.to_json()
        assert not [name for name in trained.model.state_dict() if name.startswith("imputer")]
    assert "impute" in TrainConfig().left_out(), "digests of before do not change"


def test_where_it_is_switched_off_the_network_is_that_without_it():
    """The toy clips' modalities share their class alone, and few clips show that ridge beats the mean by it."""

    class Apart(ToySource):
        def __init__(self) -> None:
            super().__init__(CLIPS)
            self.image = np.random.default_rng(9).normal(size=self.image.shape).astype("f4")

    off, without = train(Imputation.RIDGE, source=Apart()), train(Imputation.OFF, source=Apart())
    assert off.imputation is not None and not off.imputation.kept
    assert "is switched off" in off.imputation.reason
    first, second = off.model.state_dict(), without.model.state_dict()
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_groups_cluster_what_is_said():
    groups = np.array([f"g{row % 5}" for row in range(CLIPS)], dtype=object)
    report = train(Imputation.RIDGE, imputers=ImputerFits(groups)).imputation
    assert report is not None and report.num_groups == 5 and "5 groups" in report.reason


def test_modality_dropout_is_filled_in_too():
    model = train(Imputation.RIDGE, modality_dropout=0.5).model
    data = InMemory(model, PairedSource(), TRAIN)
    assert model.imputer is not None
    filled = model.imputer(data.take(np.arange(60)))
    assert all(part.present_B.sum() >= 59 for part in filled.values()), "row 0 has nothing"


def test_inputs_of_varying_length_are_refused():
    steps = EncoderConfig(steps=4, components=4, width=16, kind="gru")
    spec = spec_of("concat", encoders={AUDIO.feature: steps})
    with pytest.raises(ConfigError, match="audio-toy@1 has steps"):
        check_imputable(spec)
    FusionModel(spec)  # which is fine otherwise
