"""Prints of assets as rows of the store, and rows as the arrays that are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from mmpipe.signals.near_assets import AssetPool, tells_something
from mmpipe.signals.near_sounds import SoundPrints
from mmpipe.signals.sound_prints import SoundPrint, steady_pitch
from mmpipe.signals.text_prints import NUM_PERMUTATIONS
from mmpipe.steps.ingest.survey_work import AssetPrints
from mmpipe.types import Asset, Modality, Stream

PRINTS_VERSION = "prints-3"  # another one prints everything anew
# The first one marks no steady sound; up to the second one only the first 2,000 characters of a text were printed.
COMPARABLE = ("prints-1", "prints-2", PRINTS_VERSION)


def print_rows(asset: Asset, prints: AssetPrints) -> list[dict[str, str | bytes]]:
    """Return a row for every stream that tells recordings apart: texts only where there is nothing else."""
    media = [stream for stream in asset.streams if stream.modality is not Modality.TEXT]
    return [
        {
            "asset_id": asset.asset_id,
            "source_id": asset.source_id,
            "role": stream.role,
            "modality": str(stream.modality),
            "digest": stream.digest,
            "version": PRINTS_VERSION,
            **_print_of(stream, prints, alone=_is_alone(asset)),
        }
        for stream in (asset.streams if _is_alone(asset) else media)
    ]


def _is_alone(asset: Asset) -> bool:
    """Say whether an asset's text is all there is to compare: arrays are compared by their digests."""
    return all(stream.modality in (Modality.TEXT, Modality.ARRAY) for stream in asset.streams)


def _print_of(stream: Stream, prints: AssetPrints, alone: bool) -> dict[str, bytes]:
    print_, heard = b"", b""
    match stream.role:
        case Modality.IMAGE:
            print_ = _telling(prints.image)
        case Modality.VIDEO:
            print_ = _telling(prints.video_hashes)
        case Modality.AUDIO:
            print_, heard = bytes.fromhex(prints.sound_words), bytes.fromhex(prints.sound_heard)
            if not any(heard):
                print_, heard = b"", b""
        case Modality.TEXT if alone:
            print_ = bytes.fromhex(prints.text)
    return {"print": print_, "heard": heard}


def _telling(hashes: str) -> bytes:
    values = np.frombuffer(bytes.fromhex(hashes), "<u8")
    return values[tells_something(values)].tobytes()


def printed_anew(known: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """Return what is known with the prints of now where an older version made them; what was decided stands."""
    names = ("version", "print", "heard")
    made = fresh.select("asset_id", "role", *(pl.col(name).alias(f"{name}_now") for name in names))
    is_older = pl.col("version").ne(PRINTS_VERSION) & pl.col("version_now").is_not_null()
    chosen = [pl.when(is_older).then(f"{name}_now").otherwise(name).alias(name) for name in names]
    joined = known.join(made, on=["asset_id", "role"], how="left", maintain_order="left")
    return joined.with_columns(chosen).select(known.columns)


def find_reprinted(known: pl.DataFrame, rows: pl.DataFrame) -> frozenset[str]:
    """Return the assets whose text has another print among `rows` than among what was known."""
    is_text = pl.col("modality") == Modality.TEXT.value
    names = ("asset_id", "role")
    before, now = (frame.filter(is_text).select(*names, "print") for frame in (known, rows))
    changed = before.join(now, on=names, suffix="_now").filter(pl.col("print") != pl.col("print_now"))
    return frozenset(changed["asset_id"])


def printed_now(known: pl.DataFrame) -> frozenset[str]:
    """Return the assets whose prints need not be made anew."""
    return frozenset(known.filter(pl.col("version") == PRINTS_VERSION)["asset_id"])


def pool_of(rows: pl.DataFrame, asset_ids: Sequence[str]) -> AssetPool:
    """Return some assets as arrays, in the order in which they are named."""
    is_picture = pl.col("modality").is_in([Modality.VIDEO.value, Modality.IMAGE.value])
    rows = rows.with_columns(shared=pl.when(is_picture & (pl.len().over("digest") > 1)).then("digest"))
    heard_with = _heard_with(rows)
    places = pl.DataFrame(
        {"asset_id": list(asset_ids), "place": range(len(asset_ids))}, schema={"asset_id": pl.String, "place": pl.Int64}
    )
    rows = rows.join(places, on="asset_id").sort("place", "role")
    told = rows.with_columns(
        compared=pl.when((pl.col("print") != b"") & (pl.col("role") == pl.col("modality"))).then("role"),
        shape=pl.when(pl.col("modality") == Modality.ARRAY.value)
        .then(pl.concat_str("role", pl.lit("="), "digest"))
        .when(pl.col("modality") != Modality.TEXT.value)
        .then("role"),
    )
    whole = told.group_by("place").agg(pl.col("compared", "shape", "shared").drop_nulls()).sort("place")
    images, videos, sounds, texts = (
        rows.filter((pl.col("role") == modality.value) & (pl.col("print") != b""))
        for modality in (Modality.IMAGE, Modality.VIDEO, Modality.AUDIO, Modality.TEXT)
    )
    return AssetPool(
        compared=[frozenset(roles) for roles in whole["compared"].to_list()],
        shapes=[" ".join(roles) for roles in whole["shape"].to_list()],
        shared=[frozenset(digests) for digests in whole["shared"].to_list()],
        heard_with=heard_with,
        image_places=images["place"].to_numpy(),
        image_hashes=_joined(images, "<u8"),
        video_places=videos["place"].to_numpy(),
        video_hashes=_joined(videos, "<u8"),
        video_offsets=_offsets(videos, 8),
        sound_places=sounds["place"].to_numpy(),
        sounds=SoundPrints(
            words_T=_joined(sounds, "<u4"), heard_T=_joined(sounds, "u1", "heard") > 0, offsets=_offsets(sounds, 4)
        ),
        pitches=np.array([steady_pitch(np.frombuffer(heard, "u1")) for heard in sounds["heard"]], np.int64),
        text_places=texts["place"].to_numpy(),
        texts_NP=_joined(texts, "<u4").reshape(-1, NUM_PERMUTATIONS),
    )


def _heard_with(rows: pl.DataFrame) -> Mapping[str, list[SoundPrint]]:
    """Return the different sounds of all that hold a shared picture stream, by its digest."""
    sounds = rows.filter((pl.col("role") == Modality.AUDIO.value) & (pl.col("print") != b""))
    held = rows.filter(pl.col("shared").is_not_null()).select("asset_id", "shared").unique()
    pairs = held.join(sounds.select("asset_id", "print", "heard"), on="asset_id").unique(["shared", "print"])
    found: dict[str, list[SoundPrint]] = {}
    for digest, words, heard in pairs.select("shared", "print", "heard").sort("shared", "print").iter_rows():
        sound = SoundPrint(start_ns=0, words_T=np.frombuffer(words, "<u4"), marks_T=np.frombuffer(heard, "u1"))
        found.setdefault(digest, []).append(sound)
    return found


def _joined(rows: pl.DataFrame, kind: str, column: str = "print") -> np.ndarray:
    return np.frombuffer(b"".join(rows[column].to_list()), kind)


def _offsets(rows: pl.DataFrame, width: int) -> np.ndarray:
    lengths = rows["print"].bin.size().to_numpy().astype(np.int64) // width
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
