"""An extractor's golden: every built-in one gives what it gave, and whatever changes without a new version is seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydantic import Field

from mmpipe.config import Table
from mmpipe.errors import ConfigError, SampleError
from mmpipe.features.extractor import expect_audio
from mmpipe.features.golden import record_golden, replay_golden
from mmpipe.features.golden_media import make_clips
from mmpipe.features.registry import extractor_names, make_extractor
from mmpipe.testing import check_extractor, record_extractor
from mmpipe.types import (
    ArrayNeeds,
    AudioNeeds,
    ClipMedia,
    FeatureKind,
    FeatureSchema,
    FeatureValue,
    ImageNeeds,
    Modality,
    TextNeeds,
    VideoNeeds,
)

GOLDEN = Path(__file__).resolve().parents[1] / "fixtures" / "golden"
RECORDED = sorted({path.name.partition("@")[0] for path in GOLDEN.glob("*.json")})
WITH_WEIGHTS = {
    *("audio-hf", "image-hf", "image-resnet50", "image-timm", "image-vgg16", "text-bert", "text-hf"),
    *("video-hf", "video-resnet50", "video-timm", "video-vgg16"),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_built_in_extractor_gives_what_its_golden_says(name: str) -> None:
    assert replay_golden(lambda params: make_extractor(name, params), GOLDEN) == ()


REPLAY = """
import sys
from pathlib import Path
from mmpipe.features.golden import replay_golden
from mmpipe.features.registry import make_extractor
for name in sys.argv[2:]:
    print(*replay_golden(lambda params: make_extractor(name, params), Path(sys.argv[1])))
"""


def test_goldens_hold_for_other_instructions_of_a_processor() -> None:
    """NumPy and OpenBLAS are told to leave out what only newer processors have."""
    older = {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4", "OPENBLAS_CORETYPE": "Nehalem"}
    line = [sys.executable, "-W", "ignore", "-c", REPLAY, str(GOLDEN), *RECORDED]
    done = subprocess.run(line, env={**os.environ, **older}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_extractor_without_weights_has_a_golden() -> None:
    assert set(extractor_names()) - WITH_WEIGHTS == set(RECORDED)


def test_goldens_are_small() -> None:
    assert max(path.stat().st_size for path in GOLDEN.glob("*.json")) < 6_000


class LoudParams(Table):
    """What can be chosen."""

    gain: float = Field(1.0, gt=0)


class Loud:
    """The loudness of four parts of a sound."""

    name = "audio-loud"
    version = 1
    modality = Modality.AUDIO
    weights_sha256 = ""
    Params: type[Table] = LoudParams
    dtype = "float32"
    power = 2.0
    refuses_silence = False
    minds_others = False

    def __init__(self, params: Table) -> None:
        self.params = params
        self.needs = AudioNeeds(sample_rate_hz=8_000)
        feature = f"{self.name}@{self.version}"
        self.schema = FeatureSchema(
            feature=feature, modality=self.modality, kind=FeatureKind.VECTOR, dim=4, dtype=self.dtype
        )

    def setup(self, device: str) -> None: ...

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        return [self._one(media, len(batch)) for media in batch]

    def _one(self, media: ClipMedia, beside: int) -> FeatureValue:
        wave_N = expect_audio(media, self.needs, self.name).wave_N
        if self.refuses_silence and not wave_N.any():
            raise SampleError("silent", "nothing is heard")
        parts = [np.mean(np.abs(part) ** self.power) for part in np.array_split(wave_N, 4)]
        return FeatureValue(array=np.array(parts, self.dtype) * (beside if self.minds_others else 1))


class MoreParams(LoudParams):
    """A parameter more."""

    floor: float = 0.0


class MoreParamsLeftOut(LoudParams):
    """A parameter more, left out of the fingerprint at its default."""

    floor: float = Field(0.0, exclude_if=lambda value: value == 0.0)


class FewerParams(Table):
    """A parameter less."""


def changed(**members: object) -> Callable[..., Loud]:
    return type("Changed", (Loud,), members)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record_extractor(Loud, tmp_path)
    return tmp_path


def test_what_is_as_it_was_passes_also_where_another_machine_rounds(folder: Path) -> None:
    check_extractor(Loud, folder)
    check_extractor(changed(power=2.0000001), folder)
    check_extractor(changed(Params=MoreParamsLeftOut), folder)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"power": 2.01}, "of the clip 'sweep' 4 of 4 numbers are others"),
        ({"dtype": "float64"}, "its values are"),
        ({"refuses_silence": True}, "the clip 'silence' is refused as silent now, and was accepted"),
        ({"minds_others": True}, "depends on what it is computed beside"),
        ({"Params": FewerParams}, "refuses the parameters of its golden"),
    ],
)
def test_a_change_without_a_version_fails_and_names_the_way_out(
    folder: Path, members: dict[str, object], said: str
) -> None:
    with pytest.raises(AssertionError, match=said) as caught:
        check_extractor(changed(**members), folder)
    text = str(caught.value)
    assert "audio-loud@1" in text
    assert f"set version = 2 and record it: mmpipe check extractor audio-loud --golden {folder} --record" in text
    with pytest.raises(ConfigError, match="set version = 2"):
        record_extractor(changed(**members), folder)
    check_extractor(Loud, folder)


def test_a_parameter_that_only_moves_the_fingerprint_is_told_what_it_costs(folder: Path) -> None:
    with pytest.raises(AssertionError, match="all that is stored of it would be called stale"):
        check_extractor(changed(Params=MoreParams), folder)


def test_a_new_version_needs_a_golden_of_its_own_and_the_old_code_is_refused_after_it(folder: Path) -> None:
    newer = changed(power=3.0, version=2)
    with pytest.raises(AssertionError, match=r"audio-loud@2 is new and has no golden yet"):
        check_extractor(newer, folder)
    assert record_extractor(newer, folder).name == "audio-loud@2.json"
    check_extractor(newer, folder)
    with pytest.raises(AssertionError, match=r"audio-loud@1 is older than audio-loud@2.*versions only go up"):
        check_extractor(Loud, folder)


def test_an_extractor_without_any_golden_is_told_how_to_record_one(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="has no golden in"):
        check_extractor(Loud, tmp_path)


def test_a_dry_run_writes_nothing_and_recording_twice_changes_nothing(folder: Path, tmp_path: Path) -> None:
    path = folder / "audio-loud@1.json"
    before = path.read_bytes()
    assert record_extractor(Loud, folder) == path
    assert path.read_bytes() == before
    empty = tmp_path / "empty"
    assert record_golden(lambda params: Loud(LoudParams(**params)), empty, dry_run=True).parent == empty
    assert not empty.exists()


def replay_changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> tuple[str, ...]:
    """Replay a built-in extractor whose values are changed."""

    def make(params):
        made = make_extractor(name, params)
        real = made.extract
        made.extract = lambda batch: [
            FeatureValue(array=change(value.array.copy()), times_ns=value.times_ns) for value in real(batch)
        ]
        return made

    return replay_golden(make, GOLDEN)


def test_one_number_of_a_large_value_counts_and_so_does_the_order() -> None:
    recorded = json.loads((GOLDEN / "image-pixels@1.json").read_text())

    def off_by_one(array: np.ndarray) -> np.ndarray:
        array[5_000] ^= 1
        return array

    assert recorded["clips"]["ramp"]["shape"] == [12_288]
    assert replay_changed("image-pixels", lambda array: array) == ()
    assert replay_changed("image-pixels", off_by_one)
    assert replay_changed("image-pixels", lambda array: array[::-1])


@pytest.mark.parametrize("name", ["text-ngrams", "video-hogdct", "array-stats", "audio-mfccseg"])
def test_a_change_counts_however_small_the_numbers_are(name: str) -> None:
    assert replay_changed(name, lambda array: array) == ()
    assert replay_changed(name, lambda array: array * np.float32(1.0005))


def test_a_number_beside_much_larger_ones_counts(tmp_path: Path) -> None:
    sizes_4 = np.array([1, 1e-3, 1e3, 0], np.float32)
    members = {"_one": lambda self, media, beside: FeatureValue(array=sizes_4 * [1, self.power, 1, 1])}
    record_extractor(changed(**members), tmp_path)
    check_extractor(changed(**members, power=2.00001), tmp_path)
    with pytest.raises(AssertionError, match="1 of 4 numbers are others, the most at 1"):
        check_extractor(changed(**members, power=4.0), tmp_path)


@pytest.mark.parametrize("distance", [1, 2, 7, 11, 22, 55, 64, 89])
def test_numbers_that_change_places_count_at_any_distance(distance: int) -> None:
    def swapped(array: np.ndarray) -> np.ndarray:
        row = array.reshape(64, -1)[10]  # one fold
        at = np.arange(distance)
        row[at], row[at + distance] = row[at + distance], row[at]
        return array

    assert replay_changed("image-pixels", swapped)


def test_a_file_that_is_no_golden_is_named(folder: Path) -> None:
    (folder / "audio-loud@1.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"audio-loud@1\.json is no golden"):
        check_extractor(Loud, folder)


@pytest.mark.parametrize(
    "needs",
    [
        AudioNeeds(sample_rate_hz=8_000),
        ImageNeeds(width_px=20, height_px=10),
        ImageNeeds(width_px=20, height_px=10, gray=True),
        VideoNeeds(width_px=20, height_px=10, num_frames=3),
        VideoNeeds(width_px=16, height_px=16, gray=True, frame_rate=5.0),
        TextNeeds(),
        ArrayNeeds(),
    ],
)
def test_made_clips_are_the_same_every_time_and_unlike_each_other(needs) -> None:
    first, again = make_clips(needs), make_clips(needs)
    assert [repr(clip) for clip in first.values()] == [repr(clip) for clip in again.values()]
    assert len({repr(clip) for clip in first.values()}) == len(first) >= 3
