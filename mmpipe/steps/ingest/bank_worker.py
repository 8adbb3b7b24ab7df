"""What a worker does for a noise bank: decode the sound of clips, at the bank's rate."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping

import numpy as np

from mmpipe.errors import SampleError
from mmpipe.steps.ground.wire import encode
from mmpipe.steps.ingest.bank_work import BankWork, ClipWave
from mmpipe.types import AudioClip, AudioNeeds, Clip, Modality, Stream


def collect_waves(work: BankWork, report: Callable[[str], None], poisoned: Mapping[str, str]) -> bytes:
    """Decode each clip; one that cannot be used, or is silent, is left out."""
    found = []
    for clip, stream in work.clips:
        if clip.key in poisoned:
            continue
        report(clip.key)
        try:
            wave_N = _decode(work, clip, stream)
        except SampleError:
            continue  # it is in quarantine for its feature; a bank takes what is whole
        if wave_N is not None and np.any(wave_N):
            told = base64.b64encode(wave_N.astype("<f4").tobytes()).decode()
            found.append(ClipWave(key=clip.key, asset_id=clip.asset_id, wave_base64=told))
    return encode(tuple[ClipWave, ...], tuple(found))


def _decode(work: BankWork, clip: Clip, stream: Stream) -> np.ndarray | None:
    from mmpipe.media.decode import MediaSource, decode_clips
    from mmpipe.media.guard import open_regular

    descriptor = open_regular(work.root, stream.file)
    try:
        needs = AudioNeeds(sample_rate_hz=work.sample_rate_hz)
        source = MediaSource(descriptor=descriptor, stream=stream)
        for decoded in decode_clips({Modality.AUDIO: source}, [clip], [needs], (), work.limits):
            heard = decoded.media.get(needs)
            if isinstance(heard, AudioClip):
                return heard.wave_N[: round(work.length_s * work.sample_rate_hz)]
    finally:
        os.close(descriptor)
    return None
