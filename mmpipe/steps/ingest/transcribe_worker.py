"""What hears recordings inside a worker process: the sound is decoded in pieces, the model is loaded once a process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.signals.recogniser import LEAST_SAMPLES, Recogniser, load_recogniser
from mmpipe.steps.ground.wire import encode
from mmpipe.steps.plan.speech_model import SpeechModel
from mmpipe.types import NANOSECONDS_PER_SECOND, AudioClip, AudioNeeds, Clip, Cue, Modality, Stream

PIECE_NS = 20 * NANOSECONDS_PER_SECOND  # with what is heard beside it, it fits the 30 s that Whisper hears at once
OVERLAP_NS = 2 * NANOSECONDS_PER_SECOND  # heard on each side, so that no word is cut
NO_WORDS = "no_words"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A sound to hear, under the digest of its transcript."""

    digest: str
    stream: Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechWork:
    """Recordings for one worker."""

    root: Path
    limits: LimitsConfig
    model: SpeechModel
    recordings: tuple[Recording, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What was heard in a recording: words, or the reason why there are none."""

    digest: str
    cues: tuple[Cue, ...] = ()  # on the asset's clock
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a recording: words whose middle lies in [start_ns, end_ns) are its own; `heard` is what is played."""

    start_ns: int
    end_ns: int
    heard: Clip


def transcribe_recordings(work: SpeechWork, report: Callable[[str], None], poisoned: Mapping[str, str]) -> bytes:
    """Return a Transcript for every recording; one that killed a worker twice has that as its reason."""
    found = []
    for recording in work.recordings:
        if code := poisoned.get(recording.digest):
            detail = "hearing it ended its worker process, alone and twice"
            found.append(Transcript(digest=recording.digest, code=code, detail=detail))
        else:
            found.append(_transcribe(work, recording, lambda digest=recording.digest: report(digest)))  # type: ignore[misc]
    return encode(tuple[Transcript, ...], tuple(found))


def _transcribe(work: SpeechWork, recording: Recording, alive: Callable[[], None]) -> Transcript:
    alive()
    recogniser = _load(work.model.folder, work.model.sha256, work.model.language, work.model.word_times)
    alive()
    try:
        cues = tuple(_hear(work, recording.stream, recogniser, alive))
    except SampleError as error:
        return Transcript(digest=recording.digest, code=error.code, detail=error.detail)
    if not cues:
        return Transcript(digest=recording.digest, code=NO_WORDS, detail="the speech model hears no word in it")
    if not work.model.word_times:
        cues = tuple(_joined(cues, recording.stream.start_ns))
    return Transcript(digest=recording.digest, cues=cues)


@lru_cache(maxsize=1)
def _load(folder: Path, sha256: str, language: str, word_times: bool) -> Recogniser:
    """Load a model once a process; its digest is part of the call, so that changed weights are loaded anew."""
    return load_recogniser(folder, language, word_times)


def _hear(work: SpeechWork, stream: Stream, recogniser: Recogniser, alive: Callable[[], None]) -> Iterator[Cue]:
    """Yield the words of a recording on the asset's clock, in their order."""
    overlap_ns = OVERLAP_NS if recogniser.times == "word" else 0
    pieces = cut_pieces(stream.start_ns, stream.start_ns + stream.duration_ns, overlap_ns)
    sounds = _decode(work, stream, pieces, recogniser.sample_rate_hz)
    words: list[Cue] = []
    for batch in _batches(sounds, recogniser.batch):
        alive()
        heard = recogniser.hear([sound.wave_N for _, sound in batch])
        for (piece, sound), cues in zip(batch, heard, strict=True):
            words += _own_words(piece, sound, cues)
    yield from sorted(words, key=lambda cue: (cue.start_ns, cue.end_ns))


def cut_pieces(start_ns: int, end_ns: int, overlap_ns: int) -> tuple[Piece, ...]:
    """Cut a time range on a fixed grid; what is heard of a piece reaches over its ends."""
    starts = range(start_ns, max(end_ns, start_ns + 1), PIECE_NS)
    ends = [*starts[1:], end_ns + PIECE_NS]  # a word that a model lets end too late is still the last piece's
    return tuple(
        Piece(start_ns=first, end_ns=last, heard=_played(number, first, last, start_ns, end_ns, overlap_ns))
        for number, (first, last) in enumerate(zip(starts, ends, strict=True))
    )


def _played(number: int, first_ns: int, last_ns: int, start_ns: int, end_ns: int, overlap_ns: int) -> Clip:
    return Clip(
        key=str(number),
        asset_id="",
        start_ns=max(first_ns - overlap_ns, start_ns),
        end_ns=min(last_ns + overlap_ns, end_ns),
    )


def _decode(
    work: SpeechWork, stream: Stream, pieces: Sequence[Piece], rate_hz: int
) -> Iterator[tuple[Piece, AudioClip]]:
    """Decode a recording once and yield its pieces in order; what is silent throughout is left out."""
    from mmpipe.media.decode import MediaSource, decode_clips
    from mmpipe.media.guard import open_regular

    need, by_key = AudioNeeds(sample_rate_hz=rate_hz), {piece.heard.key: piece for piece in pieces}
    descriptor = open_regular(work.root, stream.file)
    try:
        sources = {Modality.AUDIO: MediaSource(descriptor=descriptor, stream=stream)}
        for decoded in decode_clips(sources, [piece.heard for piece in pieces], (need,), (), work.limits):
            sound = decoded.media.get(need)
            if isinstance(sound, AudioClip) and len(sound.wave_N) >= LEAST_SAMPLES and sound.wave_N.any():
                yield by_key[decoded.clip.key], sound
    finally:
        os.close(descriptor)


def _batches(sounds: Iterator[tuple[Piece, AudioClip]], size: int) -> Iterator[list[tuple[Piece, AudioClip]]]:
    """Yield neighbours of one length together, a few at a time: what a model hears is never padded."""
    for _, group in groupby(sounds, key=lambda pair: len(pair[1].wave_N)):
        batch: list[tuple[Piece, AudioClip]] = []
        for pair in group:
            batch.append(pair)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch


def _own_words(piece: Piece, sound: AudioClip, cues: Sequence[Cue]) -> Iterator[Cue]:
    """Yield the words of a piece on the asset's clock; those whose middle lies beside it are its neighbour's."""
    for cue in cues:
        start_ns, end_ns = cue.start_ns + sound.start_ns, cue.end_ns + sound.start_ns
        if piece.start_ns <= (start_ns + end_ns) // 2 < piece.end_ns:
            yield Cue(start_ns=start_ns, end_ns=end_ns, text=cue.text)


def _joined(words: Sequence[Cue], start_ns: int) -> Iterator[Cue]:
    """Yield the words of each piece as one cue."""
    for _, group in groupby(words, key=lambda cue: (cue.start_ns - start_ns) // PIECE_NS):
        said = list(group)
        text = " ".join(cue.text for cue in said)
        yield Cue(start_ns=said[0].start_ns, end_ns=max(cue.end_ns for cue in said), text=text)
