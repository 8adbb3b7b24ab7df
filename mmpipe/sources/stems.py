"""Group the files of a corpus into assets-to-be: those of one folder and stem belong together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from mmpipe.sources.suffixes import modality_hint, split_suffix
from mmpipe.types import Drop, RawFile


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetFiles:
    """The files of one stem: `source_id` is their common corpus-relative name without the suffix, escaped."""

    source_id: str
    files: tuple[RawFile, ...]  # sorted by name


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """The stems of a corpus, sorted by source id, and the files that can be none of them."""

    assets: tuple[AssetFiles, ...]
    drops: tuple[Drop, ...]


def group_files(files: Iterable[RawFile]) -> Grouping:
    """Join files of the same folder and stem; only the last, known suffix is cut off, in any letter case.

    So `a.mp4`, `a.VTT` and `a.json` are one asset, while `a.en.vtt` belongs to the stem `a.en` alone.
    """
    by_stem: defaultdict[str, list[RawFile]] = defaultdict(list)
    drops = []
    for file in sorted(files, key=lambda file: file.name):
        if modality_hint(file.name) is None:
            drops.append(_unknown(file))
        else:
            by_stem[split_suffix(file.name)[0]].append(file)
    assets = (AssetFiles(source_id=stem, files=tuple(members)) for stem, members in sorted(by_stem.items()))
    return Grouping(assets=tuple(assets), drops=tuple(drops))


def _unknown(file: RawFile) -> Drop:
    suffix = split_suffix(file.name)[1]
    what = f"the suffix {suffix!r} is" if suffix else "a name without a suffix is"
    return Drop(stage="list", code="unknown_type", detail=f"{what} not known as media or text", file=file.name)
