"""The FFmpeg filters that a rendition may name: an allow-list, each parameter a bounded number or one of a few words.

None of them reads a file or evaluates a string: a value is a plain number or a word of the list, or it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mmpipe.errors import ConfigError
from mmpipe.types import Modality

_NUMBER = re.compile(r"-?\d{1,9}(\.\d{1,9})?")
_DECIBEL = re.compile(r"(-?\d{1,3}(\.\d{1,6})?)dB")


@dataclass(frozen=True, slots=True)
class Number:
    """A parameter that is a number between two bounds."""

    low: float
    high: float
    whole: bool = False
    decibels: tuple[int, int] | None = None  # an amplitude, which may be said as `-6dB` too, between these

    def spell(self, text: str) -> str:
        """Return the one spelling of a value; raise ValueError."""
        said = _DECIBEL.fullmatch(text)
        if said and self.decibels:
            if self.decibels[0] <= float(said[1]) <= self.decibels[1]:
                return f"{float(said[1]):.9g}dB"
        elif _NUMBER.fullmatch(text) and self.low <= float(text) <= self.high and (not self.whole or "." not in text):
            return f"{float(text):.9g}" if not self.whole else str(int(text))
        # FFmpeg takes any number in dB for an amplitude: `g=6dB`, of a gain that is in dB, would be 2.
        also = ", without a unit" if said else ""
        if self.decibels:
            also = f", or from {self.decibels[0]}dB to {self.decibels[1]}dB"
        raise ValueError(f"a {'whole ' if self.whole else ''}number from {self.low:g} to {self.high:g}{also}")


@dataclass(frozen=True, slots=True)
class Word:
    """A parameter that is one of a few words."""

    words: tuple[str, ...]

    def spell(self, text: str) -> str:
        """Return the value; raise ValueError."""
        if text not in self.words:
            raise ValueError(f"one of {', '.join(self.words)}")
        return text


@dataclass(frozen=True, slots=True)
class Ratio:
    """A rate as a number or a fraction, as in 30000/1001."""

    low: float
    high: float

    def spell(self, text: str) -> str:
        """Return the value; raise ValueError."""
        parts = text.split("/")
        if len(parts) <= 2 and all(re.fullmatch(r"\d{1,7}(\.\d{1,6})?", part) for part in parts):
            over = float(parts[1]) if len(parts) == 2 else 1.0
            if over and self.low <= float(parts[0]) / over <= self.high:
                return text
        raise ValueError(f"a number or fraction from {self.low:g} to {self.high:g}")


Parameter = Number | Word | Ratio


def _no_delay(rate_hz: int) -> int:
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What is allowed of one filter."""

    parameters: Mapping[str, Parameter]
    fixed: Mapping[str, str | int] = field(default_factory=dict)  # what is always said, whatever the config says
    required: tuple[str, ...] = ()
    order: tuple[str, ...] = ()  # parameters that may come first without their keys, as FFmpeg orders them
    aliases: Mapping[str, str] = field(default_factory=dict)  # FFmpeg's other names of parameters
    delay: Callable[[int], int] = _no_delay  # samples by which it is late, at a rate


_HZ = Number(1, 96_000)
_POLES = Number(1, 2, whole=True)
_BAND: dict[str, Parameter] = {"f": _HZ, "w": Number(0.01, 96_000), "t": Word(("h", "q", "o"))}
_SHELF: dict[str, Parameter] = {**_BAND, "g": Number(-40, 40)}
_PASS: dict[str, Parameter] = {**_BAND, "p": _POLES}
_BAND_NAMES = {"frequency": "f", "width": "w", "width_type": "t"}
_SHELF_NAMES = {**_BAND_NAMES, "gain": "g"}
_PASS_NAMES = {**_BAND_NAMES, "poles": "p"}
_CLICK_NAMES = {"window": "w", "threshold": "t"}
_DENOISE_NAMES = {
    "noise_reduction": "nr",
    "noise_floor": "nf",
    "noise_type": "nt",
    "track_noise": "tn",
    "track_residual": "tr",
    "adaptivity": "ad",
    "residual_floor": "rf",
    "gain_smooth": "gs",
}

AUDIO_FILTERS: Mapping[str, Filter] = {
    "acompressor": Filter(
        parameters={
            "threshold": Number(0.001, 1, decibels=(-60, 0)),
            "ratio": Number(1, 20),
            "attack": Number(0.01, 2_000),
            "release": Number(0.01, 9_000),
            "makeup": Number(1, 64, decibels=(0, 36)),
        }
    ),
    "adeclick": Filter(parameters={"w": Number(10, 100), "t": Number(1, 100)}, order=("w",), aliases=_CLICK_NAMES),
    "adeclip": Filter(parameters={"w": Number(10, 100), "t": Number(1, 100)}, order=("w",), aliases=_CLICK_NAMES),
    # Two of its hops of an 80th of a second: measured at ten rates, as of FFmpeg 9.
    "afftdn": Filter(
        parameters={
            "nr": Number(0.01, 97),
            "nf": Number(-80, -20),
            "nt": Word(("white", "vinyl", "shellac")),
            "tn": Word(("0", "1")),
            "tr": Word(("0", "1")),
            "ad": Number(0, 1),
            "rf": Number(-80, -20),
            "gs": Number(0, 50, whole=True),
        },
        order=("nr", "nf", "nt"),
        aliases=_DENOISE_NAMES,
        delay=lambda rate_hz: 2 * (rate_hz // 80),
    ),
    "agate": Filter(
        parameters={
            "threshold": Number(0, 1, decibels=(-100, 0)),
            "ratio": Number(1, 9_000),
            "attack": Number(0.01, 9_000),
        }
    ),
    "alimiter": Filter(
        parameters={
            "limit": Number(0.0625, 1, decibels=(-24, 0)),
            "attack": Number(0.1, 80),
            "release": Number(1, 8_000),
        },
        fixed={"latency": 1, "level": 0},
    ),
    "aresample": Filter(
        parameters={"sample_rate": Number(1_000, 192_000, whole=True)},
        required=("sample_rate",),
        order=("sample_rate",),
    ),
    "bandpass": Filter(parameters=_BAND, order=("f",), aliases=_BAND_NAMES),
    "bandreject": Filter(parameters=_BAND, order=("f",), aliases=_BAND_NAMES),
    "bass": Filter(parameters=_SHELF, order=("f",), aliases=_SHELF_NAMES),
    "dynaudnorm": Filter(
        parameters={"f": Number(10, 8_000, whole=True), "p": Number(0, 1), "m": Number(1, 100), "r": Number(0, 1)},
        order=("f",),
        aliases={"framelen": "f", "peak": "p", "maxgain": "m", "targetrms": "r"},
    ),
    "equalizer": Filter(parameters=_SHELF, required=("f",), order=("f",), aliases=_SHELF_NAMES),
    "highpass": Filter(parameters=_PASS, order=("f",), aliases=_PASS_NAMES),
    "loudnorm": Filter(
        parameters={"I": Number(-70, -5), "LRA": Number(1, 50), "TP": Number(-9, 0)},
        order=("I", "LRA", "TP"),
        aliases={"i": "I", "lra": "LRA", "tp": "TP"},
    ),
    "lowpass": Filter(parameters=_PASS, order=("f",), aliases=_PASS_NAMES),
    "treble": Filter(parameters=_SHELF, order=("f",), aliases=_SHELF_NAMES),
    "volume": Filter(
        parameters={"volume": Number(0, 100, decibels=(-60, 60))},
        fixed={"eval": "once"},
        required=("volume",),
        order=("volume",),
    ),
}

_SIDE_PX = Number(2, 8_192, whole=True)
_SPLIT_RATE = Ratio(0.1, 240)
_DENOISE = ("luma_spatial", "chroma_spatial", "luma_tmp", "chroma_tmp")
_DEINTERLACE: dict[str, Parameter] = {
    "mode": Word(("send_frame", "send_field")),
    "parity": Word(("auto", "tff", "bff")),
}

VIDEO_FILTERS: Mapping[str, Filter] = {
    "bwdif": Filter(parameters=_DEINTERLACE, order=("mode", "parity")),
    "eq": Filter(
        parameters={
            "brightness": Number(-1, 1),
            "contrast": Number(-10, 10),
            "gamma": Number(0.1, 10),
            "saturation": Number(0, 3),
        },
        fixed={"eval": "init"},
        order=("contrast", "brightness", "saturation", "gamma"),
    ),
    "fps": Filter(parameters={"fps": _SPLIT_RATE}, required=("fps",), order=("fps",)),
    "gblur": Filter(parameters={"sigma": Number(0, 200), "steps": Number(1, 6, whole=True)}, order=("sigma", "steps")),
    "hflip": Filter(parameters={}),
    "hqdn3d": Filter(parameters=dict.fromkeys(_DENOISE, Number(0, 100)), order=_DENOISE),
    "scale": Filter(
        parameters={
            "width": _SIDE_PX,
            "height": _SIDE_PX,
            "flags": Word(("bilinear", "bicubic", "area", "lanczos", "neighbor")),
        },
        required=("width", "height"),
        order=("width", "height", "flags"),
        aliases={"w": "width", "h": "height"},
    ),
    "unsharp": Filter(
        parameters={
            "luma_msize_x": Number(3, 23, whole=True),
            "luma_msize_y": Number(3, 23, whole=True),
            "luma_amount": Number(-2, 5),
        },
        order=("luma_msize_x", "luma_msize_y", "luma_amount"),
        aliases={"lx": "luma_msize_x", "ly": "luma_msize_y", "la": "luma_amount"},
    ),
    "yadif": Filter(parameters=_DEINTERLACE, order=("mode", "parity")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterStep:
    """One filter with its parameters, spelt in one way."""

    name: str
    parameters: tuple[tuple[str, str], ...]  # sorted

    @property
    def text(self) -> str:
        """Return the filter as the config says it."""
        said = ":".join(f"{key}={value}" for key, value in self.parameters)
        return f"{self.name}={said}" if said else self.name

    def get(self, key: str) -> str:
        """Return a parameter's value."""
        return dict(self.parameters)[key]


def parse_filter(text: str, modality: Modality) -> FilterStep:
    """Return a filter that the config names; ConfigError says what is allowed in its place."""
    known = AUDIO_FILTERS if modality is Modality.AUDIO else VIDEO_FILTERS
    name, _, rest = text.partition("=")
    if name not in known:
        raise ConfigError(f"{text!r}: no filter {name!r} for {modality}; there are: {', '.join(sorted(known))}")
    allowed, said = known[name], {}
    short = iter(allowed.order)  # values without keys come first, as in volume=6dB or scale=320:240
    for part in rest.split(":") if rest else ():
        key, equals, value = part.partition("=")
        if equals:
            key, short = allowed.aliases.get(key, key), iter(())
        else:
            key, value = next(short, ""), part
        if key not in allowed.parameters or key in said:
            keys = ", ".join(sorted(allowed.parameters)) or "none"
            first = f"; first and without a key may stand: {', '.join(allowed.order)}" if allowed.order else ""
            raise ConfigError(
                f"{text!r}: {part!r} is no parameter; each is key=value, once; allowed are: {keys}{first}"
            )
        try:
            said[key] = allowed.parameters[key].spell(value)
        except ValueError as error:
            raise ConfigError(f"{text!r}: {key} = {value!r} must be {error}") from None
    if missing := sorted(set(allowed.required) - said.keys()):
        raise ConfigError(f"{text!r}: {name} needs {', '.join(missing)}")
    return FilterStep(name=name, parameters=tuple(sorted(said.items())))


def fixed_parameters(step: FilterStep, modality: Modality) -> Mapping[str, str | int]:
    """Return what is always said to a filter."""
    return (AUDIO_FILTERS if modality is Modality.AUDIO else VIDEO_FILTERS)[step.name].fixed


def delay_of(step: FilterStep, rate_hz: int) -> int:
    """Return by how many samples a filter of sound is late."""
    return AUDIO_FILTERS[step.name].delay(rate_hz)
