"""Tell a speed report: as a section of the page, and as lines of Markdown for an orchestrator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mmpipe.report.values import Fact, RateShown, ShareShown, SpeedShown
from mmpipe.steps.extract.extract import ExtractReport
from mmpipe.steps.speed.speed import SpeedReport, join_facts, judge_speed
from mmpipe.words import counted


def speed_summary(reports: Iterable[ExtractReport]) -> str:
    """Return the report on the batches of one run as a list in Markdown; "" where none of them decoded anything."""
    facts = [report.speed for report in reports if report.speed]
    if not facts:
        return ""
    return "\n".join(f"- {what}: {value}" for what, value in judge_speed(join_facts(facts)).lines())


def speed_rows(reports: Iterable[ExtractReport]) -> list[dict[str, str]]:
    """Return the same as rows of a table; none where none of them decoded anything."""
    facts = [report.speed for report in reports if report.speed]
    return [{"what": what, "value": value} for what, value in judge_speed(join_facts(facts)).lines()] if facts else []


def show_speed(report: SpeedReport) -> SpeedShown:
    """Return a report as a section of the page."""
    return SpeedShown(
        sentence=f"{report.clips:,} clips in {report.wall_s:,.1f} s, the newest run. Bottleneck: {report.bottleneck}.",
        rates=tuple(_rates(report)),
        shares=(
            ShareShown(label="decoding", share=report.decode_share),
            ShareShown(label="encoding", share=report.encode_share),
            ShareShown(label="writing", share=report.write_share),
            ShareShown(label="loading models, checking files", share=report.other_share),
            ShareShown(label="idle, start-up included", share=report.worker_idle_share),
        ),
        facts=tuple(_facts(report)),
    )


def _rates(report: SpeedReport) -> Iterator[RateShown]:
    named = {
        "achieved": report.clips_per_s,
        "both stages on the same cores, at best": report.shared_ceiling,
        "bare decoder": report.decoder_ceiling,
        "bare encoder": report.encoder_ceiling,
    }
    yield from (RateShown(label=label, clips_per_s=rate) for label, rate in named.items() if rate is not None)


def _facts(report: SpeedReport) -> Iterator[Fact]:
    shown = {
        "of the lower ceiling": report.efficiency,
        "of what both can share": report.shared_efficiency,
        "device idle": report.device_idle_share,
        "padding waste": report.padding_waste,
    }
    yield from (Fact(label=label, value=f"{share:.1%}") for label, share in shown.items() if share is not None)
    if report.disturbed:
        yield Fact(label="efficiency", value=report.disturbed)
    if report.no_ceiling:
        yield Fact(label="ceilings", value=report.no_ceiling)
    if report.reused:
        yield Fact(label="there before, in no rate", value=counted(report.reused, "value"))
    if report.nvdec:
        yield Fact(label="NVDEC", value=report.nvdec)
    yield Fact(label="read", value=f"{report.file_bytes / 2**20:,.1f} MiB")
    yield Fact(label="decoded", value=f"{report.media_bytes / 2**20:,.1f} MiB")
    if report.cost_per_1000_media_hours is not None:
        yield Fact(label="cost of 1,000 media hours", value=f"{report.cost_per_1000_media_hours:,.2f}")
