"""How long does a night's look for near twins take, with 100,000 recordings kept and 10,000 new?

Prints of pictures, texts and sounds are made up, every fiftieth new one near a kept one; they are written to a store,
read back and compared, as the ingest does it (nothing is decoded here). Exactly those twins must be found, or the
benchmark fails. Beside it the loop over all pairs that one would write with `imagehash` and `datasketch`, timed on a
sample of the pairs. A ratio above 1 says how many times faster ours is than that loop over all pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.told import log, print_table
from mmpipe.signals.near_assets import NearLimits, find_near, tells_something
from mmpipe.steps.ingest.near_rows import PRINTS_VERSION, pool_of
from mmpipe.store.layout import PRINTS, create_store
from mmpipe.store.prints import STREAM_PRINTS, read_prints, write_prints
from mmpipe.types import digest_of

CORPUS = "bench"
LIMITS = NearLimits(image_bits=6, video_share=0.8, audio_share=0.7, text_jaccard=0.85)
GOALS = {"image_night_s": 10.0}
TWINS = 0.02  # share of the new that have one
SOUND_HOPS = 224  # three seconds
FLIPPED_BITS = 4
WORD_BITS = 0.1  # share of a sound's bits that a copy gets wrong
SAMPLE = 200


def main() -> None:
    """Run the benchmark and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10,000 kept and 1,000 new")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    result = measure(*((10_000, 1_000) if arguments.quick else (100_000, 10_000)))
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print_table(result)


def measure(num_kept: int, num_new: int) -> dict[str, object]:
    """Look for twins of each kind, and do the same by loops over a sample."""
    figures: dict[str, float] = {}
    ratios: dict[str, float] = {}
    for kind in ("image", "text", "audio"):
        kept, new, twins = make_prints(kind, num_kept, num_new)
        seconds, found = night(kind, kept, new)
        if found != twins:
            raise SystemExit(f"{kind}: {len(found ^ twins)} of {len(twins)} twins are missed or made up")
        figures[f"{kind}_night_s"] = seconds
        log(f"{kind}: {num_new} new against {num_kept} kept: {seconds:.2f} s")
        if kind != "audio":
            pair_s = loop_seconds(kind, kept[:SAMPLE], new[:SAMPLE])
            ratios[f"{kind}_vs_loop"] = pair_s * num_kept * num_new / seconds
    figures["night_s"] = sum(figures.values())
    setting = {"kept": num_kept, "new": num_new, "cpus": len(os.sched_getaffinity(0)), "machine": platform.machine()}
    return {"benchmark": "dedup", "goals": GOALS, "ratios": ratios, "figures": figures, "setting": setting}


def night(kind: str, kept: np.ndarray, new: np.ndarray) -> tuple[float, set[tuple[int, int]]]:
    """Write what is kept, then time what a night does: read it, and look for twins of the new."""
    kept_ids, new_ids = names("kept", len(kept)), names("new", len(new))
    with tempfile.TemporaryDirectory(prefix="mmpipe-bench-") as folder:
        layout = create_store(Path(folder))
        write_prints(layout.dataset(CORPUS, PRINTS), "2026-11-20", rows_of(kind, kept, kept_ids))
        fresh = rows_of(kind, new, new_ids)
        started = time.perf_counter()
        rows = pl.concat([read_prints(layout, CORPUS).select(STREAM_PRINTS.names), fresh])
        news = pool_of(rows, new_ids)
        twins = find_near(news, pool_of(rows, kept_ids), LIMITS).twins
        find_near(news, news, LIMITS)
        seconds = time.perf_counter() - started
    return seconds, set(zip(twins.new_K.tolist(), twins.kept_K.tolist(), strict=True))


def rows_of(kind: str, prints: np.ndarray, ids: Sequence[str]) -> pl.DataFrame:
    """Return prints as the store holds them."""
    heard = b"\1" * SOUND_HOPS if kind == "audio" else b""
    return pl.DataFrame(
        {
            "asset_id": list(ids),
            "source_id": list(ids),
            "role": [kind] * len(ids),
            "modality": [kind] * len(ids),
            "digest": list(ids),
            "version": [PRINTS_VERSION] * len(ids),
            "print": [row.tobytes() for row in prints],
            "heard": [heard] * len(ids),
            **{name: [""] * len(ids) for name in ("settings", "verdict", "twin")},
            "distance": [0.0] * len(ids),
            "group": [""] * len(ids),
        },
        schema=STREAM_PRINTS.schema,
    )


def names(what: str, count: int) -> list[str]:
    """Return made-up asset ids."""
    return [digest_of(what, number) for number in range(count)]


def make_prints(kind: str, num_kept: int, num_new: int) -> tuple[np.ndarray, np.ndarray, set[tuple[int, int]]]:
    """Return kept prints, new ones, and which of these are twins: every fiftieth new one, spread over the kept."""
    generator = np.random.default_rng(7)
    every = round(1 / TWINS)
    news = np.arange(0, num_new, every)
    twins = dict(zip(news.tolist(), (news * (num_kept // num_new)).tolist(), strict=True))
    if kind == "image":
        kept, new = pictures(generator, num_kept), pictures(generator, num_new)
        for place, other in twins.items():
            bits = generator.choice(64, FLIPPED_BITS, replace=False).astype(np.uint64)
            new[place] = kept[other] ^ np.bitwise_xor.reduce(np.uint64(1) << bits)
        return kept[:, None], new[:, None], set(twins.items())
    width, top = (128, 2**32 - 1) if kind == "text" else (SOUND_HOPS, 2**32)
    kept, new = (generator.integers(0, top, (count, width), dtype=np.uint32) for count in (num_kept, num_new))
    for place, other in twins.items():
        new[place] = kept[other]
        if kind == "text":
            new[place, generator.choice(width, 10, replace=False)] += 1
        else:
            wrong = np.packbits(generator.random((width, 32)) < WORD_BITS, axis=1).view(np.uint32)[:, 0]
            new[place] ^= wrong
    return kept, new, set(twins.items())


def pictures(generator: np.random.Generator, count: int) -> np.ndarray:
    """Return hashes of which half the bits are ones, as a pHash has them."""
    drawn = generator.integers(0, 2**64, 2 * count, dtype=np.uint64)
    drawn = drawn[tells_something(drawn) & (np.abs(np.bitwise_count(drawn).astype(int) - 32) <= 4)]
    return drawn[:count]


def loop_seconds(kind: str, kept: np.ndarray, new: np.ndarray) -> float:
    """Return the seconds that a pair costs in a loop of the usual packages."""
    if kind == "image":
        import imagehash

        ones, others = ([imagehash.ImageHash(_bits(value)) for value in prints[:, 0]] for prints in (new, kept))
        return _timed_pairs(lambda one, other: one - other <= LIMITS.image_bits, ones, others)
    from datasketch import MinHash  # type: ignore[import-untyped]

    ones, others = (
        [MinHash(128, hashvalues=row.astype(np.uint64), scheme="legacy") for row in prints] for prints in (new, kept)
    )
    return _timed_pairs(lambda one, other: one.jaccard(other) >= LIMITS.text_jaccard, ones, others)


def _bits(value: np.uint64) -> np.ndarray:
    return np.unpackbits(np.array([value], ">u8").view(np.uint8)).astype(bool).reshape(8, 8)


def _timed_pairs(is_near: object, ones: Sequence[object], others: Sequence[object]) -> float:
    assert callable(is_near)
    started = time.perf_counter()
    for one in ones:
        for other in others:
            is_near(one, other)
    return (time.perf_counter() - started) / (len(ones) * len(others))


if __name__ == "__main__":
    main()
