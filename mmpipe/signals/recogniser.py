"""Speech to text by a model of transformers: CTC (wav2vec2 and its kin) and Whisper, with the time of each word."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.errors import ConfigError
from mmpipe.signals.words import one_line
from mmpipe.types import NANOSECONDS_PER_SECOND, Cue

LEAST_SAMPLES = 1_600  # a tenth of a second at 16 kHz: below it the first layers of a CTC model have nothing to see
# Measured with wav2vec2-base and 24 s: one wave needs 0.4 GiB, two need twice as much and are no faster on a CPU.
CTC_BATCH = 1
WHISPER_BATCH = 4  # its decoder reads all its weights for every token, however many waves there are
LEAST_WORD_NS = 20_000_000  # one frame of either kind of model: a word that is given no time at all gets this
_CLOSED = {"local_files_only": True, "trust_remote_code": False}  # nothing is fetched, no code of a model is run


@dataclass(frozen=True, slots=True, kw_only=True)
class Recogniser:
    """A model that is loaded, and what it gives."""

    sample_rate_hz: int
    times: str  # "word", "segment", or "" where the model tells none
    batch: int  # waves that are best heard at once
    pipeline: Any
    options: Mapping[str, Any]

    def hear(self, waves: Sequence[np.ndarray]) -> list[tuple[Cue, ...]]:
        """Return what is said in waves of one length: a cue per word or segment, or one that lasts as long as the wave.

        Times count from the start of the wave. Waves of one length are never padded: what one holds changes no other.
        """
        import torch

        assert len({len(wave) for wave in waves}) == 1, "waves of different lengths in one batch"
        inputs = [{"raw": wave, "sampling_rate": self.sample_rate_hz} for wave in waves]
        try:
            with one_thread(), torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what a library thinks of its own arguments
                found = self.pipeline(inputs, batch_size=len(waves), **self.options)
        except ValueError as error:  # as of a language that the model does not have
            raise ConfigError(f"the speech model cannot do what `text.asr` asks: {error}") from error
        length_ns = len(waves[0]) * NANOSECONDS_PER_SECOND // self.sample_rate_hz
        return [self._cues(told, length_ns) for told in found]

    def _cues(self, told: Mapping[str, Any], length_ns: int) -> tuple[Cue, ...]:
        if not self.times:
            text = one_line(str(told["text"]))
            return (Cue(start_ns=0, end_ns=length_ns, text=text),) if text else ()
        chunks = ((one_line(chunk["text"]), chunk["timestamp"]) for chunk in told["chunks"])
        cues = (_timed(text, start_s, end_s, length_ns) for text, (start_s, end_s) in chunks)
        return tuple(cue for cue in cues if cue.text and cue.start_ns < length_ns)  # Whisper dreams on after the end


def load_recogniser(folder: Path, language: str, word_times: bool) -> Recogniser:
    """Load a model from a folder with `config.json` and safetensors. Raise ConfigError where it is no such model."""
    with without_pictures():
        from transformers import AutoConfig, AutoFeatureExtractor, AutoTokenizer, pipeline

        try:
            config = AutoConfig.from_pretrained(folder, **_CLOSED)
            extractor = AutoFeatureExtractor.from_pretrained(folder, **_CLOSED)
            tokenizer = AutoTokenizer.from_pretrained(folder, **_CLOSED)
            model = _load_model(folder, config)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ConfigError(
                f"the speech model {folder.name!r} cannot be loaded: {error}. `text.asr.model` needs a CTC or Whisper "
                "model as transformers saves it: config.json, safetensors, tokenizer and feature extractor."
            ) from error
        whisper = not _is_ctc(config)
        recognise = pipeline(
            "automatic-speech-recognition",
            model=model.eval(),
            tokenizer=tokenizer,
            feature_extractor=extractor,
            device="cpu",
        )
    times = _times_of(model, word_times) if whisper else "word"
    options: dict[str, Any] = {"return_timestamps": {"word": "word", "segment": True, "": False}[times]}
    if whisper:
        options["generate_kwargs"] = {"do_sample": False, "num_beams": 1} | ({"language": language} if language else {})
    rate_hz = int(extractor.sampling_rate)
    batch = WHISPER_BATCH if whisper else CTC_BATCH
    return Recogniser(sample_rate_hz=rate_hz, times=times, batch=batch, pipeline=recognise, options=options)


def _load_model(folder: Path, config: Any) -> Any:
    from transformers import AutoModelForCTC, AutoModelForSpeechSeq2Seq

    kind = AutoModelForCTC if _is_ctc(config) else AutoModelForSpeechSeq2Seq
    return kind.from_pretrained(folder, config=config, use_safetensors=True, **_CLOSED)


def _is_ctc(config: Any) -> bool:
    return any(str(name).endswith("ForCTC") for name in config.architectures or ())


def _times_of(model: Any, word_times: bool) -> str:
    """Return what times a Whisper-like model can tell: of words by its alignment heads, of segments by its tokens."""
    settings = model.generation_config
    if getattr(settings, "no_timestamps_token_id", None) is None:
        return ""
    return "word" if word_times and getattr(settings, "alignment_heads", None) else "segment"


def _timed(text: str, start_s: float | None, end_s: float | None, length_ns: int) -> Cue:
    """Return a cue within its wave; an open end is the wave's."""
    start_ns = round(float(start_s or 0.0) * NANOSECONDS_PER_SECOND)
    end_ns = length_ns if end_s is None else min(round(float(end_s) * NANOSECONDS_PER_SECOND), length_ns)
    return Cue(start_ns=start_ns, end_ns=max(end_ns, start_ns + LEAST_WORD_NS), text=text)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: sums are split by thread, and the same words must come out on every machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def without_pictures() -> Iterator[None]:
    """Hide torchvision while transformers loads: speech needs none, and one made for another torch ends the import."""
    if "torchvision" in sys.modules:
        yield
        return
    sys.modules["torchvision"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torchvision"]
