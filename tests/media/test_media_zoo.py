"""Every odd, damaged or hostile file of the zoo is used or dropped with a code, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

CODES = {
    *("empty_file", "not_media", "format_not_allowed", "no_streams", "decode_error", "encoding", "limit_pixels"),
    *("limit_duration", "limit_frames", "limit_channels", "limit_rate", "limit_streams", "limit_file", "limit_text"),
}
CHILD = """
import json, os, signal, sys
from pathlib import Path
from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.confine import limit_process
from mmpipe.media.decode import MediaSource, decode_clips
from mmpipe.media.guard import open_regular, self_test
from mmpipe.media.probe import probe_file
from mmpipe.types import AudioNeeds, Clip, RawFile, TextNeeds, VideoNeeds

limit_process()
self_test()
root, limits = Path(sys.argv[1]), LimitsConfig()
needs = [VideoNeeds(width_px=64, height_px=48, gray=True), AudioNeeds(sample_rate_hz=16000), TextNeeds()]
for name in sys.argv[2:]:
    signal.alarm(20)  # ends this process, also inside FFmpeg
    status = (root / name).stat()
    file = RawFile(name=name, nbytes=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)
    probed = probe_file(root, file, limits)
    outcome, kinds = [drop.code for drop in probed.drops] or ["good"], []
    if probed.streams:
        descriptor = open_regular(root, name)
        sources = {stream.modality: MediaSource(descriptor=descriptor, stream=stream) for stream in probed.streams}
        end_ns = max(stream.start_ns + stream.duration_ns for stream in probed.streams)
        clip = Clip(key="k", asset_id="a", start_ns=0, end_ns=end_ns)
        try:
            (decoded,) = decode_clips(sources, [clip], needs, probed.cues, limits)
            kinds = sorted(type(media).__name__ for media in decoded.media.values())
        except SampleError as error:
            outcome = [error.code]
        os.close(descriptor)
    print(json.dumps([name, outcome, kinds]), flush=True)
"""


def test_every_file_ends_good_or_with_a_code(corpora):
    root = corpora / "media_zoo"
    names = sorted(path.name for path in root.iterdir() if path.name != "manifest.jsonl")

    def run(part: list[str]) -> list:
        command = [sys.executable, "-c", CHILD, str(root), *part]
        done = subprocess.run(command, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-2000:]}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    with ThreadPoolExecutor(2) as pool:
        told = [row for rows in pool.map(run, (names[::2], names[1::2])) for row in rows]
    assert sorted(row[0] for row in told) == names
    outcomes = {name: code for name, (code,), _ in told}
    assert set(outcomes.values()) <= CODES | {"good"}
    assert all(code in ("format_not_allowed", "not_media") for name, code in outcomes.items() if name.endswith(".m3u8"))
    counts = Counter(outcomes.values())
    assert counts["good"] >= 58, counts
    assert sum(bool(kinds) for _, _, kinds in told) >= 58
