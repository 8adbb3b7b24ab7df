"""The file-name suffixes that may be media or a sidecar; a hint only: what a file is, its content says."""

from __future__ import annotations

from collections.abc import Collection

from mmpipe.types import Modality

_KNOWN: dict[Modality, str] = {
    Modality.VIDEO: "3g2 3gp avi flv m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv",
    Modality.AUDIO: "aac ac3 aif aifc aiff amr ape au caf flac m4a m4b mka mp2 mp3 oga ogg oggflac opus spx"
    " tta wav wma wv",
    Modality.IMAGE: "avif bmp gif jpeg jpg png tif tiff webp",
    Modality.TEXT: "csv json jsonl srt txt vtt",
}
MODALITY_OF_SUFFIX: dict[str, Modality] = {
    f".{suffix}": modality for modality, suffixes in _KNOWN.items() for suffix in suffixes.split()
}
TABLES = (".csv", ".jsonl")  # of texts beside media; alone they are tables of something else


def split_suffix(name: str) -> tuple[str, str]:
    """Return (stem, lower-case suffix with its dot); only the last suffix counts: `a.en.vtt` has the stem `a.en`."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.rpartition(".")
    if not stem:
        return name, ""
    return f"{folder}{slash}{stem}", f"{dot}{suffix}".lower()


def modality_hint(name: str, arrays: Collection[str] = ()) -> Modality | None:
    """Return the modality that a file's name suggests, None where it suggests none.

    `arrays` are the suffixes, without a dot, that a corpus says are arrays of numbers.
    """
    suffix = split_suffix(name)[1]
    return Modality.ARRAY if suffix[1:] in arrays else MODALITY_OF_SUFFIX.get(suffix)
