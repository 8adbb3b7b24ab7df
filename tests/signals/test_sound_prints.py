"""Sound prints survive codecs, other sample rates and volumes, and tell utterances of one speaker apart."""

from __future__ import annotations

import io
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from mmpipe.signals.near_sounds import SoundIndex, pack_sound_prints
from mmpipe.signals.sound_prints import (
    HOP_NS,
    MAX_ERROR_SHARE,
    SAMPLE_RATE_HZ,
    SoundPrint,
    SoundPrinter,
    compare_sound_prints,
    cut_sound_print,
    steady_pitch,
)


def print_of(wave_N: np.ndarray, block: int = 4_000, start_ns: int = 0) -> SoundPrint:
    printer = SoundPrinter(start_ns)
    for first in range(0, len(wave_N), block):
        printer.push(wave_N[first : first + block].astype(np.float32))
    return printer.finish()


def decode(file: object) -> np.ndarray:
    av = pytest.importorskip("av")
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
    with av.open(file) as container:
        parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([part.to_ndarray()[0] for part in parts + resampler.resample(None)])


def encode_again(wave_N: np.ndarray, codec: str, container: str, rate_hz: int, bits_per_s: int) -> np.ndarray:
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout="mono")
        stream.bit_rate = bits_per_s
        context = stream.codec_context
        context.open()
        resampler = av.AudioResampler(context.format, "mono", rate_hz, frame_size=context.frame_size)
        frame = av.AudioFrame.from_ndarray(wave_N[None].astype(np.float32), format="flt", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        for part in resampler.resample(frame) + resampler.resample(None):
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    buffer.seek(0)
    return decode(buffer)


@lru_cache(maxsize=1)
def utterances(folder: Path) -> list[np.ndarray]:
    return [decode(path) for path in sorted(folder.glob("*.mpg"))[:160:27]]


@pytest.mark.parametrize(
    ("codec", "container", "rate_hz", "bits_per_s"),
    [("mp3", "mp3", 44_100, 64_000), ("mp3", "mp3", 16_000, 24_000), ("aac", "adts", 44_100, 48_000)],
)
def test_encoding_again_keeps_the_print(
    corpora: Path, codec: str, container: str, rate_hz: int, bits_per_s: int
) -> None:
    waves = utterances(corpora / "grid" / "raw")
    prints = [print_of(wave) for wave in waves]
    copies = [print_of(0.3 * encode_again(wave, codec, container, rate_hz, bits_per_s)) for wave in waves]
    # Measured: 0.04, 0.11 and 0.08 on average.
    assert max(compare_sound_prints(*pair) for pair in zip(prints, copies, strict=True)) < 0.2
    matches = SoundIndex(pack_sound_prints(prints)).query(pack_sound_prints(copies))
    assert matches.new_K.tolist() == matches.kept_K.tolist() == list(range(len(waves)))


def test_utterances_of_one_speaker_differ(corpora: Path) -> None:
    prints = [print_of(wave) for wave in utterances(corpora / "grid" / "raw")]
    # Measured on 780 pairs: 0.43 at least.
    assert min(compare_sound_prints(*pair) for pair in combinations(prints, 2)) > MAX_ERROR_SHARE + 0.05
    packed = pack_sound_prints(prints)
    assert len(SoundIndex(packed).query(packed)) == len(prints)


def test_volume_and_blocks_leave_the_print_alone() -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 20_000)
    whole, pieces, soft = print_of(wave, block=10**6), print_of(wave, block=77), print_of(0.25 * wave)
    assert (np.bitwise_count(whole.words_T ^ pieces.words_T).sum(), len(whole.words_T)) == (0, 75)
    assert compare_sound_prints(whole, soft) < 0.001


def test_parts_of_a_print_match_the_print_of_the_part() -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 4 * SAMPLE_RATE_HZ)
    part = cut_sound_print(print_of(wave), 1_000_000_000, 3_000_000_000)
    assert 1_000_000_000 <= part.start_ns < 1_000_000_000 + HOP_NS
    assert compare_sound_prints(part, print_of(wave[SAMPLE_RATE_HZ : 3 * SAMPLE_RATE_HZ])) < 0.1
    assert len(cut_sound_print(print_of(wave), 9_000_000_000, 10_000_000_000).words_T) == 0


def test_silence_and_snippets_match_nothing() -> None:
    silence, snippet = print_of(np.zeros(32_000)), print_of(np.random.default_rng(0).normal(0, 0.1, 8_000))
    assert compare_sound_prints(silence, silence) == compare_sound_prints(snippet, snippet) == 0.5
    assert len(print_of(np.zeros(100)).words_T) == 0
    packed = pack_sound_prints([silence, snippet, print_of(np.zeros(0))])
    assert len(packed) == 3
    assert len(SoundIndex(packed).query(packed)) == 0
    assert len(SoundIndex(pack_sound_prints([])).query(packed)) == 0


def test_a_steady_tone_has_a_pitch_through_codecs_and_what_changes_has_none(corpora: Path) -> None:
    times_s = np.arange(3 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    for hz in (60, 440, 3000):
        tone = 0.2 * np.sin(2 * np.pi * hz * times_s)
        pitch = steady_pitch(print_of(tone).marks_T)
        assert pitch > 0 and print_of(tone).heard_T.all()
        for codec, container, bits_per_s in (("aac", "adts", 48_000), ("mp3", "mp3", 64_000)):
            coded = encode_again(tone, codec, container, 44_100, bits_per_s)
            assert abs(steady_pitch(print_of(coded).marks_T) - pitch) <= 1
    beeps = 0.2 * np.sin(2 * np.pi * 440 * times_s) * (times_s % 0.5 < 0.25)
    noise = np.random.default_rng(3).normal(0, 0.1, len(times_s))
    said = utterances(corpora / "grid" / "raw")
    others = [beeps, noise, np.zeros(len(times_s)), tone[:4_000], *said]
    for wave_N in said:
        hum_N = np.sin(2 * np.pi * 50 * np.arange(len(wave_N)) / SAMPLE_RATE_HZ)
        others += [wave_N + 0.3, wave_N + np.sqrt(10 * 2 * np.square(wave_N).mean()) * hum_N]
    assert [steady_pitch(print_of(wave_N).marks_T) for wave_N in others] == [0] * len(others)
