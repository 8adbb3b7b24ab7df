"""`audio-hf`: the numbers of a straight transformers call, whatever runs beside a clip; true times; what it refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parent))
import audio_models

from mmpipe.errors import ConfigError, SampleError
from mmpipe.features.encoders.audio_hf import AudioHf
from mmpipe.features.extractor import fingerprint
from mmpipe.features.registry import make_extractor
from mmpipe.types import AudioClip, FeatureKind
from mmpipe.weights.loading import quiet_transformers

torch = pytest.importorskip("torch")
RATE = 16_000
WAVE = (np.random.default_rng(0).normal(0, 0.1, 16_000) * np.linspace(0.2, 1, 16_000)).astype(np.float32)
Made = tuple[Path, Any, Any]
MAKERS: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    "whisper": audio_models.make_whisper,
    "wav2vec2-group": lambda folder: audio_models.make_wav2vec2(folder, "group"),
    "wav2vec2-layer": lambda folder: audio_models.make_wav2vec2(folder, "layer"),
    "ast": audio_models.make_ast,
    "clap": lambda folder: audio_models.make_clap(folder, fusion=False),
    "clap-fusion": lambda folder: audio_models.make_clap(folder, fusion=True),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    made = {}
    for name, make in MAKERS.items():
        folder = tmp_path_factory.mktemp(name)
        made[name] = (folder, *make(folder))
    return made


def ears(folder: Path, **params: Any) -> AudioHf:
    extractor = make_extractor("audio-hf", {"model": str(folder), "dtype": "float32", **params})
    assert isinstance(extractor, AudioHf)
    extractor.setup("cpu")
    return extractor


def sound(num_samples: int, start_ns: int = 0) -> AudioClip:
    wave = np.resize(WAVE, num_samples) * np.linspace(1, 0.5, num_samples, dtype=np.float32)
    return AudioClip(wave_N=wave.astype(np.float32), sample_rate_hz=RATE, start_ns=start_ns)


def hear(extractor: AudioHf, *clips: AudioClip) -> list[np.ndarray]:
    return [value.array for value in extractor.extract(clips)]


@quiet_transformers()
def straight(made: Made, clip: AudioClip) -> Any:
    """Run one clip through transformers as its documentation does."""
    _, network, extractor = made
    inputs = dict(extractor(clip.wave_N, sampling_rate=RATE, return_tensors="pt"))
    inputs.pop("attention_mask", None)
    with torch.inference_mode():
        network = network.get_encoder() if network.config.model_type == "whisper" else network
        return network(**inputs, output_hidden_states=True)


@pytest.mark.parametrize("num_samples", [16_000, 9_003])
@pytest.mark.parametrize("name", ["whisper", "wav2vec2-group", "wav2vec2-layer"])
def test_frames_and_their_mean_are_those_of_transformers(models: dict[str, Made], name: str, num_samples: int) -> None:
    clip = sound(num_samples)
    out = straight(models[name], clip)
    folder = models[name][0]
    (frames,) = hear(ears(folder, pool="none"), clip)
    wanted = out.last_hidden_state[0].numpy()
    if name == "whisper":  # behind the sound comes silence: its frames are the window's, not the clip's
        wanted = wanted[: -(-num_samples // 320)]
    assert frames.shape == wanted.shape
    np.testing.assert_allclose(frames, wanted, atol=1e-5)
    np.testing.assert_allclose(hear(ears(folder), clip)[0], wanted.mean(axis=0), atol=1e-5)
    layer = out.hidden_states[1][0].numpy()[: len(frames)]
    np.testing.assert_allclose(hear(ears(folder, layer=1), clip)[0], layer.mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("num_samples", [16_000, 9_003])
def test_ast_pools_as_the_model_does_and_by_column(models: dict[str, Made], num_samples: int) -> None:
    clip, folder = sound(num_samples), models["ast"][0]
    out = straight(models["ast"], clip)
    np.testing.assert_allclose(hear(ears(folder, pool="model"), clip)[0], out.pooler_output[0].numpy(), atol=1e-5)
    num_mels, num_frames = 32, 104
    rows, columns = (num_mels - 16) // 10 + 1, (num_frames - 16) // 10 + 1
    wanted = out.last_hidden_state[0, 2:].reshape(rows, columns, -1).mean(0).numpy()
    heard = min(columns, -(-(1 + (num_samples - 400) // 160) // 10))
    (frames,) = hear(ears(folder, pool="none"), clip)
    np.testing.assert_allclose(frames, wanted[:heard], atol=1e-5)
    np.testing.assert_allclose(hear(ears(folder), clip)[0], wanted[:heard].mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("num_samples", [16_000, 5_000])
@pytest.mark.parametrize("name", ["clap", "clap-fusion"])
def test_clap_gives_the_embedding_of_transformers(models: dict[str, Made], name: str, num_samples: int) -> None:
    clip = sound(num_samples)
    wanted = straight(models[name], clip).audio_embeds[0].numpy()
    np.testing.assert_allclose(hear(ears(models[name][0]), clip)[0], wanted, atol=1e-5)
    assert fingerprint(ears(models[name][0])) == fingerprint(ears(models[name][0], pool="model"))


@pytest.mark.parametrize("name", list(MAKERS))
def test_a_value_does_not_depend_on_its_neighbours_or_the_batch(models: dict[str, Made], name: str) -> None:
    pool = "model" if name.startswith("clap") else "mean"
    clips = [sound(size) for size in (3_000, 16_000, 9_003, 16_000, 400, 7, 12_345)]
    alone = np.stack([hear(ears(models[name][0], pool=pool), clip)[0] for clip in clips])
    for batch in ("auto", 2):
        np.testing.assert_allclose(
            np.stack(hear(ears(models[name][0], pool=pool, batch=batch), *clips)), alone, atol=1e-5
        )


def test_models_without_masks_hear_equal_lengths_only(models: dict[str, Made]) -> None:
    clips = [sound(size) for size in (5_000, 9_000, 5_000, 9_000)]
    extractors = {norm: ears(models[f"wav2vec2-{norm}"][0]) for norm in ("group", "layer")}
    for extractor in extractors.values():
        hear(extractor, *clips)
    assert extractors["group"].units.padded == 0
    assert extractors["layer"].units.padded == 8_000
    assert {extractor.units.used for extractor in extractors.values()} == {28_000}


def test_what_a_fixed_window_costs_is_told(models: dict[str, Made]) -> None:
    extractor, short = ears(models["whisper"][0]), ears(models["whisper"][0], window_s=0.5)
    hear(extractor, sound(8_000))
    hear(short, sound(8_000))
    assert (extractor.units.used, extractor.units.padded) == (8_000, 24_000)
    assert (short.units.used, short.units.padded) == (8_000, 0)


def test_a_shorter_window_of_whisper_keeps_the_first_positions(models: dict[str, Made]) -> None:
    """Compared with the encoder of transformers, built for a window of half a second with the same weights."""
    folder, network, extractor = models["whisper"]
    clip = sound(8_000)
    with quiet_transformers():
        from transformers import WhisperConfig, WhisperModel

        small = WhisperModel(WhisperConfig(**{**network.config.to_dict(), "max_source_positions": 25})).eval()
    weights = {**network.state_dict()}
    weights["encoder.embed_positions.weight"] = weights["encoder.embed_positions.weight"][:25]
    small.load_state_dict(weights)
    mel = extractor(clip.wave_N, sampling_rate=RATE, max_length=8_000, return_tensors="pt")["input_features"]
    with torch.inference_mode():
        wanted = small.get_encoder()(mel).last_hidden_state[0].numpy()
    np.testing.assert_allclose(hear(ears(folder, window_s=0.5, pool="none"), clip)[0], wanted, atol=1e-5)


def test_frames_lie_on_the_clock_of_the_asset(models: dict[str, Made]) -> None:
    start_ns = 5_000_000_000
    values = {
        name: ears(models[name][0], pool="none").extract([sound(40_000, start_ns)])[0]
        for name in ("whisper", "wav2vec2-layer", "ast")
    }
    firsts = {name: [(time - start_ns) / 1e9 for time in value.times_ns[:2]] for name, value in values.items()}  # type: ignore[index]
    assert firsts["whisper"] == [0.0, 0.020]
    assert firsts["wav2vec2-layer"] == pytest.approx([85 / 2 / RATE, (85 / 2 + 80) / RATE], abs=1e-9)
    assert firsts["ast"] == [0.0875, 0.1875]  # 16 windows of 25 ms, 10 ms apart
    for value in values.values():
        assert value.times_ns is not None
        assert value.times_ns.dtype == np.int64
        assert (np.diff(value.times_ns) > 0).all()
        assert 2.35e9 < value.times_ns[-1] - start_ns < 2.5e9


def test_long_clips_are_heard_in_pieces(models: dict[str, Made]) -> None:
    extractor, whole = ears(models["whisper"][0]), sound(80_000)
    parts = [sound(1)] * 3
    for number in range(3):
        wave = whole.wave_N[number * 32_000 : (number + 1) * 32_000]
        parts[number] = AudioClip(wave_N=wave, sample_rate_hz=RATE, start_ns=0)
    pooled = np.average(hear(extractor, *parts), axis=0, weights=[100, 100, 50])
    np.testing.assert_allclose(hear(extractor, whole)[0], pooled, atol=1e-5)
    assert len(hear(ears(models["whisper"][0], pool="none"), whole)[0]) == 250
    cut = ears(models["wav2vec2-group"][0], pool="none", window_s=0.25)
    assert len(hear(cut, sound(8_050))[0]) == 2 * 49  # 50 samples are left: too few for a frame


def test_half_the_bits_are_near(models: dict[str, Made]) -> None:
    for name in MAKERS:
        pool = "model" if name.startswith("clap") else "mean"
        whole, half = (
            hear(ears(models[name][0], pool=pool, dtype=dtype), sound(16_000))[0] for dtype in ("float32", "bfloat16")
        )
        assert half @ whole / np.linalg.norm(whole) / np.linalg.norm(half) > 0.999, name


def test_schema_and_fingerprint(models: dict[str, Made]) -> None:
    folder = models["whisper"][0]
    extractor = ears(folder, pool="none", values="float16")
    assert (extractor.schema.kind, extractor.schema.dim, extractor.schema.dtype) == (
        FeatureKind.SEQUENCE,
        32,
        "float16",
    )
    assert hear(extractor, sound(5_000))[0].dtype == np.float16
    table = {"model": str(folder), "dtype": "float32"}
    plain = fingerprint(make_extractor("audio-hf", table))
    assert plain == fingerprint(make_extractor("audio-hf", {**table, "batch": 3}))
    marks = {fingerprint(make_extractor("audio-hf", {**table, **one})) for one in ({"window_s": 1.0}, {"layer": 0})}
    assert len(marks | {plain}) == 3


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("whisper", {"window_s": 3.0}, "positions for 2 s"),
        ("whisper", {"pool": "model"}, "'mean', 'none'"),
        ("ast", {"window_s": 1.0}, "one length"),
        ("ast", {"pool": "model", "layer": 1}, "last layer"),
        ("clap", {"pool": "mean"}, "'model'"),
    ],
)
def test_what_a_model_cannot_do_is_refused(
    models: dict[str, Made], name: str, params: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        make_extractor("audio-hf", {"model": str(models[name][0]), **params})


def test_other_models_and_waves_that_are_not_finite_are_refused(models: dict[str, Made], tmp_path: Path) -> None:
    broken = AudioClip(wave_N=np.full(4_000, np.inf, np.float32), sample_rate_hz=RATE, start_ns=0)
    with pytest.raises(SampleError, match="NaN or infinity"):
        hear(ears(models["whisper"][0]), broken)
    save_file({}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match="'bert'; those that are heard are"):
        make_extractor("audio-hf", {"model": str(tmp_path)})
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    with pytest.raises(ConfigError, match="no preprocessor_config"):
        make_extractor("audio-hf", {"model": str(tmp_path)})
