"""Log-mel spectrograms of a minute and a half of sound at 16 kHz, 80 bands, a row every 10 ms; one thread each."""

from __future__ import annotations

import numpy as np

from benchmarks.readers.race import Contestant, Visit

RATE_HZ, SECONDS, BANDS, HOP, WINDOW, FFT = 16_000, 90, 80, 160, 400, 512


def contestants() -> list[Contestant]:
    """Return who computes it; a rate is waves a second."""
    return [
        Contestant(name="logmel", prepare=_ours),
        Contestant(name="logmel_librosa", prepare=_librosa),
        Contestant(name="logmel_hf", prepare=_transformers),
    ]


def _wave() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, RATE_HZ * SECONDS).astype(np.float32)


def _ours() -> Visit:
    from mmpipe.features.registry import make_extractor
    from mmpipe.types import AudioClip

    extractor = make_extractor("audio-logmel", {"num_mels": BANDS})
    extractor.setup("cpu")
    clip = AudioClip(wave_N=_wave(), sample_rate_hz=RATE_HZ, start_ns=0)
    return lambda number: int(len(extractor.extract([clip])[0].array) > 0)


def _librosa() -> Visit:
    import librosa

    wave_N = _wave()

    def visit(number: int) -> int:
        mel = librosa.feature.melspectrogram(
            y=wave_N, sr=RATE_HZ, n_fft=FFT, win_length=WINDOW, hop_length=HOP, n_mels=BANDS, center=False
        )
        return int(np.log(np.maximum(mel, 1e-6)).shape[0] == BANDS)

    return visit


def _transformers() -> Visit:
    import torch

    from mmpipe.weights.loading import quiet_transformers

    torch.set_num_threads(1)
    with quiet_transformers():
        from transformers import WhisperFeatureExtractor

        extractor = WhisperFeatureExtractor(feature_size=BANDS, chunk_length=SECONDS)
    wave_N = _wave()
    return lambda number: len(extractor(wave_N, sampling_rate=RATE_HZ, return_tensors="np")["input_features"])
