"""The arithmetic of the speed-of-light report, and which clips are sampled for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest
from corpus_maker import CORPUS, DT, extract, ingest, make_config, tree, write_pairs

from mmpipe.config import Config, LimitsConfig
from mmpipe.engine.engine import OnEvent, ignore_event
from mmpipe.engine.work import Outcome, WorkFailure, WorkItem
from mmpipe.errors import ConfigError
from mmpipe.steps.plan.shard_work import AssetWork, ClipWork, ShardDone, ShardWork, WorkMeter
from mmpipe.steps.speed.speed import DeviceFacts, SpeedFacts, StageSample, facts_of_meters, join_facts, judge_speed
from mmpipe.steps.speed.speed_bench import bench_extract
from mmpipe.steps.speed.speed_choice import SampleRule, SampleWork, choose_sample, clips_within
from mmpipe.steps.speed.speed_measure import measure_speed
from mmpipe.steps.speed.speed_notes import newest_run, newest_speed, note_speed, read_speed
from mmpipe.steps.speed.speed_shown import show_speed
from mmpipe.steps.tell.report import write_report
from mmpipe.steps.workers.device_pool import DevicePool
from mmpipe.store.layout import StoreLayout, create_store
from mmpipe.types import Clip, Modality, Stream

HOUR_NS = 3_600_000_000_000
# Two workers, 100 s, 200 clips of 18 s: an hour. A clip costs 0.2 s of decoding and 0.6 s of encoding.
FACTS = SpeedFacts(
    spans=((1000.0, 1100.0),),
    workers=2,
    shards=4,
    clips=200,
    clip_ns=HOUR_NS,
    busy_s=180.0,
    decode_s=40.0,
    encode_s=120.0,
    write_s=10.0,
    used_units=90,
    padded_units=10,
    sample=StageSample(clips=10, decode_s=2.0, encode_s=6.0, wall_s=4.0),
    price_per_hour=3.6,
)


def test_a_run_is_set_beside_its_ceilings() -> None:
    report = judge_speed(FACTS)
    assert report.clips_per_s == pytest.approx(2.0)
    assert report.times_real_time == pytest.approx(36.0)
    assert report.decoder_ceiling == pytest.approx(2 / 0.2)
    assert report.encoder_ceiling == pytest.approx(2 / 0.6)
    assert report.shared_ceiling == pytest.approx(2 / 0.8)
    assert report.efficiency == pytest.approx(0.6)
    assert report.shared_efficiency == pytest.approx(0.8)
    assert report.bottleneck == "encoding"


def test_every_second_of_the_workers_is_told() -> None:
    report = judge_speed(FACTS)
    shares = (report.decode_share, report.encode_share, report.write_share, report.other_share)
    assert shares == pytest.approx((0.2, 0.6, 0.05, 0.05))
    assert report.worker_idle_share == pytest.approx(0.1)
    assert sum(shares) + report.worker_idle_share == pytest.approx(1.0)
    assert report.padding_waste == pytest.approx(0.1)
    assert report.cost_per_1000_media_hours == pytest.approx(3.6 / 36 * 1000)


def test_a_device_computes_beside_the_cores() -> None:
    devices = tuple(DeviceFacts(device=f"cuda:{n}", name="x", busy_s=60.0, idle_s=30.0, load_s=10.0) for n in range(2))
    sample = StageSample(clips=10, decode_s=2.0, encode_s=1.0, device_s=8.0)
    report = judge_speed(replace(FACTS, devices=devices, sample=sample))
    assert report.decoder_ceiling == pytest.approx(10.0)
    assert report.encoder_ceiling == pytest.approx(2.5)  # 0.8 s a clip over two devices
    assert report.shared_ceiling == pytest.approx(2.5)
    assert report.device_idle_share == pytest.approx(0.3)


def test_without_a_sample_the_greatest_use_of_time_is_named() -> None:
    report = judge_speed(replace(FACTS, sample=StageSample(), no_sample="too short"))
    assert (report.decoder_ceiling, report.efficiency, report.shared_efficiency) == (None, None, None)
    assert (report.bottleneck, report.no_ceiling) == ("encoding", "too short")
    assert any("too short" in value for _, value in report.lines())


def test_what_is_far_from_its_ceiling_is_held_up_by_something_else() -> None:
    idle = replace(FACTS, busy_s=30.0, decode_s=5.0, encode_s=20.0, write_s=1.0, clips=40)
    assert judge_speed(idle).bottleneck == "starting and waiting"
    few = judge_speed(replace(idle, shards=1)).bottleneck
    assert few == "waiting: 1 shard for 2 workers (`shard_clips` says how large)"


def test_what_is_above_its_ceiling_is_told_as_a_disturbed_machine_and_not_as_a_share() -> None:
    report = judge_speed(replace(FACTS, clips=260))  # 2.6 clips/s, and the cores allow 2.5
    assert (report.efficiency, report.shared_efficiency) == (None, None)
    assert report.shared_ceiling == pytest.approx(2.5)
    (told,) = [value for what, value in report.lines() if what == "efficiency"]
    assert told.startswith("not told: 2.6 clips/s were achieved, above the ceiling of 2.5 clips/s")
    assert "%" not in told and "quiet machine" in told
    assert told in [fact.value for fact in show_speed(report).facts]
    assert judge_speed(replace(FACTS, clips=250)).shared_efficiency == pytest.approx(1.0)


def test_what_was_there_before_is_told_and_makes_no_rate() -> None:
    meter = WorkMeter(worker="h:1", ended_s=9.0, clips=3, clip_ns=HOUR_NS, reused=97)
    facts = facts_of_meters([meter, replace(meter, clips=0, clip_ns=0)], span=(0.0, 10.0), workers=1, price_per_hour=36)
    report = judge_speed(join_facts([facts, facts]))
    assert (report.clips, report.reused) == (6, 388)
    assert report.clips_per_s == pytest.approx(0.6) and report.cost_per_1000_media_hours == pytest.approx(50.0)
    assert ("there before", "388 values, in no rate and no cost") in report.lines()


def test_a_run_that_decoded_nothing_divides_by_nothing() -> None:
    report = judge_speed(SpeedFacts(spans=((5.0, 5.0),), workers=1, price_per_hour=1.0))
    assert report.clips_per_s == 0
    assert report.cost_per_1000_media_hours is None
    assert report.padding_waste is None
    assert show_speed(report).rates[0].clips_per_s == 0


def test_batches_that_ran_side_by_side_are_one_run() -> None:
    joined = join_facts([replace(FACTS, spans=((0.0, 60.0),)), replace(FACTS, spans=((40.0, 100.0),))])
    assert joined.wall_s == pytest.approx(100.0)
    assert (joined.workers, joined.clips, joined.sample.clips) == (2, 400, 20)
    assert judge_speed(joined).clips_per_s == pytest.approx(4.0)


def test_the_newest_account_of_a_device_counts() -> None:
    def at(busy_s: float) -> SpeedFacts:
        return replace(FACTS, devices=(DeviceFacts(device="cuda:0", name="x", busy_s=busy_s, idle_s=1, load_s=0),))

    assert join_facts([at(5.0), at(9.0), at(7.0)]).devices[0].busy_s == 9.0


def test_meters_add_up() -> None:
    meter = WorkMeter(
        worker="h:1", started_s=5.0, ended_s=9.0, decode_s=1.0, encode_s=2.0, clips=3, clip_ns=30, used_units=4
    )
    facts = facts_of_meters([meter, replace(meter, worker="h:2")], span=(0.0, 8.0), workers=2)
    assert (facts.busy_s, facts.decode_s, facts.encode_s) == (8.0, 2.0, 4.0)
    assert (facts.clips, facts.clip_ns, facts.used_units, facts.shards) == (6, 60, 8, 2)


# --------------------------------------------------------------------------- notes


def test_notes_tell_the_newest_run_alone(tmp_path: Path) -> None:
    layout = StoreLayout(tmp_path)
    assert newest_speed(layout, "films") is None
    for span in ((100.0, 200.0), (5000.0, 5060.0), (5030.0, 5100.0), (5101.0, 5150.0)):
        note_speed(layout, "films", replace(FACTS, spans=(span,)))
    (layout.runs / "speed" / "films" / "9999-broken.json").write_bytes(b"{")
    notes = read_speed(layout, "films")
    assert [note.spans[0][0] for note in notes] == [100.0, 5000.0, 5030.0, 5101.0]
    assert [note.spans[0][0] for note in newest_run(notes)] == [5000.0, 5030.0, 5101.0]
    found = newest_speed(layout, "films")
    assert found and found.wall_s == pytest.approx(149.0)
    assert newest_speed(layout, "sounds") is None


# --------------------------------------------------------------------------- the sample


def test_the_sample_costs_two_percent_of_a_run_that_is_long_enough() -> None:
    rule = SampleRule()
    assert [rule.budget_s(run_s) for run_s in (5.0, 29.9, 30.0, 100.0, 3600.0)] == pytest.approx([0, 0, 0.6, 2.0, 10.0])
    # 200 clips cost 160 s of workers, so in 2 s two workers make 5, less a tenth.
    assert clips_within(2.0, 2, 200, 160.0) == 4
    assert clips_within(0.1, 1, 200, 1600.0) == 1


def works_of(*clips_per_asset: int) -> list[ShardWork]:
    stream = Stream(
        role="video",
        modality=Modality.VIDEO,
        digest="d",
        file="f",
        file_sha256="s",
        file_nbytes=1,
        track=0,
        start_ns=0,
        duration_ns=1,
        codec="h264",
    )
    assets = [
        AssetWork(
            asset_id=f"a{number}",
            source_id="s",
            streams=(stream,),
            cues=(),
            clips=tuple(
                ClipWork(ordinal=n, clip=Clip(key=f"{number}-{n}", asset_id=f"a{number}", start_ns=n, end_ns=n + 1))
                for n in range(count)
            ),
        )
        for number, count in enumerate(clips_per_asset)
    ]
    work = ShardWork(
        store=Path(),
        corpus="c",
        partition="p",
        shard=0,
        root=Path(),
        limits=LimitsConfig(),
        features=(),
        assets=tuple(assets),
        reused=(),
        num_clips=sum(clips_per_asset),
    )
    half = len(assets) // 2
    return [replace(work, assets=tuple(assets[:half])), replace(work, shard=1, assets=tuple(assets[half:]))]


def test_the_same_clips_are_drawn_again_and_none_that_fell_out() -> None:
    works = works_of(*[1] * 40)
    sampled = choose_sample(works, 10, 2, spoilt={f"a{n}" for n in range(20)})
    assert sampled == choose_sample(works, 10, 2, spoilt={f"a{n}" for n in range(20)})
    drawn = [asset.asset_id for part in sampled for shard in part.shards for asset in shard.assets]
    assert len(sampled) == 2
    assert len(drawn) == len(set(drawn)) == 10
    assert all(int(name[1:]) >= 20 for name in drawn)


def test_of_a_long_recording_neighbouring_clips_are_drawn() -> None:
    (part,) = choose_sample(works_of(1000), 6, 3)
    (shard,) = part.shards
    ordinals = [clip.ordinal for clip in shard.assets[0].clips]
    assert ordinals == list(range(ordinals[0], ordinals[0] + 2))  # a part's share of six
    assert shard.num_clips == 2
    assert choose_sample(works_of(0, 0), 6, 3) == []


# --------------------------------------------------------------------------- a real run


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory, warm_workers: None) -> Config:
    folder = tmp_path_factory.mktemp("speed")
    write_pairs(folder / "media", [f"n{number}" for number in range(6)])
    config = make_config(folder)
    ingest(config)
    return config


def test_a_bench_measures_ceilings_and_touches_no_dataset(ingested: Config) -> None:
    before = tree(ingested.store)
    made = bench_extract(ingested, CORPUS, num_clips=4)
    assert tree(ingested.store) == before
    assert made.features == ("audio-mfccseg@1", "text-ngrams@1")
    assert (made.device, made.left_out, made.speed.clips) == ("cpu", (), 4)
    assert made.speed.decoder_ceiling and made.speed.encoder_ceiling and made.speed.shared_ceiling
    assert 2 <= made.speed.sampled_clips <= 8  # before the extraction and after it
    assert made.speed.shared_ceiling < min(made.speed.decoder_ceiling, made.speed.encoder_ceiling)


def test_what_is_not_ingested_cannot_be_benched(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    config = make_config(tmp_path)
    create_store(config.store)
    with pytest.raises(ConfigError, match="mmpipe ingest"):
        bench_extract(config, CORPUS)


def test_every_run_is_noted_and_one_that_makes_nothing_is_not(ingested: Config) -> None:
    layout = StoreLayout(ingested.store)
    report, _ = extract(ingested)
    (facts,) = read_speed(layout, CORPUS)
    assert report.speed == facts
    assert (facts.clips, facts.no_sample) == (6, "measured in runs of 30 s and more")
    again, _ = extract(ingested)
    assert again.speed is None
    assert len(read_speed(layout, CORPUS)) == 1
    page = write_report(ingested, CORPUS, DT).read_text()
    assert "Speed of extraction" in page


class FailingEngine:
    """An engine of which every sample fails."""

    def __init__(self) -> None:
        self.items: list[WorkItem] = []

    def run(self, function: str, items: Sequence[WorkItem], on_event: OnEvent = ignore_event) -> Iterator[Outcome]:
        self.items += items
        for item in items:
            yield Outcome(name=item.name, failure=WorkFailure(code="worker_killed", detail="it was"))

    def cancel(self) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...


def test_a_sample_that_fails_costs_the_run_nothing() -> None:
    works = works_of(*[1] * 40)
    meter = WorkMeter(worker="h:1", ended_s=60.0, decode_s=20.0, encode_s=40.0, clips=40, clip_ns=40)
    done = [ShardDone(partition="p", shard=0, features=(), reused=0, computed=40, meter=meter)]
    engine = FailingEngine()
    facts = measure_speed(engine, DevicePool(None), works, done, run_s=60.0, workers=2, price_per_hour=None)
    assert facts and facts.no_sample == "the sample failed: worker_killed"
    assert judge_speed(facts).decoder_ceiling is None
    (item,) = engine.items  # one worker is warm, so one is asked
    assert isinstance(item.payload, SampleWork)
    assert len(item.payload.shards[0].assets) == 1  # 1.2 s at 1.5 s a clip: the least there is
    assert measure_speed(engine, DevicePool(None), works, [], run_s=60.0, workers=2, price_per_hour=None) is None
