"""What librosa makes of a made sound; `python -m tests.features.librosa_mfcc` writes it to the file beside this one.

Importing librosa takes longer than all other tests of the feature: `./run sweep` asks it anew, the rest read the file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

RATE = 16_000
NUM_SAMPLES = 20_011
FILE = Path(__file__).with_suffix(".npz")
CASES = {"40 bands": (0.025, 0.010, 40), "26 bands": (0.032, 0.016, 26)}  # window_s, hop_s, num_mels


def made_wave(num_samples: int = NUM_SAMPLES) -> np.ndarray:
    """Return noise that grows louder, float32 [N]."""
    rng = np.random.default_rng(num_samples)
    wave_N = rng.normal(0, 0.1, num_samples) * np.linspace(0, 1, num_samples)
    return wave_N.astype(np.float32)


def of_librosa(window_s: float, hop_s: float, num_mels: int) -> np.ndarray:
    """Return cepstra, slopes and slopes of slopes, float32 [T, 39]."""
    import librosa

    window = round(window_s * RATE)
    size = 1 << (window - 1).bit_length()
    beside = (size - window) // 2  # librosa centres a window within its transform
    mel = librosa.feature.melspectrogram(
        y=np.pad(made_wave(), (beside, beside)).astype(np.float64),
        sr=RATE,
        n_fft=size,
        win_length=window,
        hop_length=round(hop_s * RATE),
        center=False,
        n_mels=num_mels,
    )
    cepstra = librosa.feature.mfcc(S=librosa.power_to_db(mel, amin=1e-10, top_db=None), n_mfcc=13)
    slopes = librosa.feature.delta(cepstra, width=5, mode="nearest")
    again = librosa.feature.delta(slopes, width=5, mode="nearest")
    return np.concatenate([cepstra, slopes, again]).T.astype(np.float32)


if __name__ == "__main__":
    with FILE.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{name: of_librosa(*case) for name, case in CASES.items()})
