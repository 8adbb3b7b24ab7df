"""What is told of a run's speed: rates beside their ceilings, shares of the workers' time, what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from mmpipe.words import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedReport:
    """A run beside its ceilings. Rates are clips a second, shares are of the workers' time; None: not measured."""

    workers: int
    shards: int
    clips: int
    reused: int  # values that were there before the run, counted nowhere else
    wall_s: float
    media_hours: float
    clips_per_s: float
    times_real_time: float
    decoder_ceiling: float | None
    encoder_ceiling: float | None
    shared_ceiling: float | None
    efficiency: float | None  # of the lower of the two ceilings; None also where `disturbed`
    shared_efficiency: float | None  # of what is left where both stages share the cores
    bottleneck: str
    decode_share: float
    encode_share: float  # waiting for a device included
    write_share: float
    other_share: float  # with a shard in hand: loading models, digests of files
    worker_idle_share: float  # without one, start-up included
    device_idle_share: float | None
    padding_waste: float | None
    file_bytes: int
    media_bytes: int
    frames: int
    samples: int
    gpu_tracks: int  # whose pictures NVDEC made
    cpu_tracks: tuple[tuple[str, int], ...]  # whose pictures it was to make, and the CPU did, by reason
    price_per_hour: float | None
    cost_per_1000_media_hours: float | None
    sampled_clips: int
    sampling_s: float
    no_ceiling: str  # why there is none
    disturbed: str  # why the ceilings that were measured cannot be right; "": they can

    @property
    def nvdec(self) -> str:
        """Return what NVDEC decoded, and what the CPU had to do in its place and why; "" where nobody asked for it."""
        if not self.gpu_tracks and not self.cpu_tracks:
            return ""
        by_reason = ", ".join(f"{reason} {count}" for reason, count in self.cpu_tracks)
        left = f"; {sum(count for _, count in self.cpu_tracks)} by the CPU all the same: {by_reason}"
        return f"{counted(self.gpu_tracks, 'track')} decoded{left if by_reason else ''}"

    def lines(self) -> list[tuple[str, str]]:
        """Return what a person reads: a name and a value each."""
        rows = [
            ("achieved", f"{rate_text(self.clips_per_s)}, {self.times_real_time:,.1f} x real time"),
            ("bare decoder", rate_text(self.decoder_ceiling) if self.decoder_ceiling else self.no_ceiling),
            ("bare encoder", rate_text(self.encoder_ceiling) if self.encoder_ceiling else self.no_ceiling),
        ]
        if self.efficiency is not None and self.shared_efficiency is not None:
            rows += [
                ("efficiency", f"{self.efficiency:.0%} of the lower ceiling"),
                ("with both on the same cores", f"{self.shared_efficiency:.0%} of {rate_text(self.shared_ceiling)}"),
            ]
        elif self.disturbed:
            rows.append(("efficiency", self.disturbed))
        rows += [
            ("bottleneck", self.bottleneck),
            (
                "workers' time",
                f"{self.decode_share:.0%} decoding, {self.encode_share:.0%} encoding, {self.write_share:.0%} writing, "
                f"{self.other_share:.0%} other, {self.worker_idle_share:.0%} idle",
            ),
        ]
        if self.reused:
            rows.append(("there before", f"{counted(self.reused, 'value')}, in no rate and no cost"))
        if said := self.nvdec:
            rows.append(("NVDEC", said))
        if self.device_idle_share is not None:
            rows.append(("device idle", f"{self.device_idle_share:.0%}"))
        if self.padding_waste is not None:
            rows.append(("padding waste", f"{self.padding_waste:.1%}"))
        rows.append(("moved", f"{_mib(self.file_bytes)} read, {_mib(self.media_bytes)} decoded"))
        if self.cost_per_1000_media_hours is not None:
            rows.append(("cost of 1,000 media hours", f"{self.cost_per_1000_media_hours:,.2f}"))
        return rows


def rate_text(rate: float | None) -> str:
    """Return a rate as people read it."""
    return f"{rate or 0:,.1f} clips/s"


def _mib(nbytes: int) -> str:
    return f"{nbytes / 2**20:,.1f} MiB"
