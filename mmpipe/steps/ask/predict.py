"""Ask a published model about raw files: through the very same steps as a night, but straight to the network.

So what a file is told now is what the batch said of the same clip; but that what spoils media for training and tests
(noise, blur, blocks) is not done to what is asked.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.features.trained.spec import EXPERIMENTAL
from mmpipe.registry.aliases import find_version, parse_reference
from mmpipe.registry.taint import read_taint
from mmpipe.registry.versions import Version
from mmpipe.sources.stems import AssetFiles
from mmpipe.steps.ask.answers import Answer, Unanswered
from mmpipe.steps.ask.ask_work import AskReply, AskWork
from mmpipe.steps.ask.asking import Asking, inputs_of, open_asking
from mmpipe.steps.ask.listed import Recordings, find_recordings
from mmpipe.steps.ask.network import ReleasedNetwork, load_network
from mmpipe.steps.ask.settings import CORPUS, asked_config, spoilt_inputs
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.release.sign import require_trusted
from mmpipe.store.layout import StoreLayout

_STEMS_PER_WORKER = 16  # in flight at once: what is held of a folder never grows with it
_STEMS_PER_CALL = 4
Take = Callable[[Answer | Unanswered], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictReport:
    """The answers of one version."""

    model: str
    version: str
    answers: tuple[Answer, ...]  # none where they were handed on
    unanswered: tuple[Unanswered, ...]
    status: str  # of the version: "candidate" or "refused"
    clips: int = 0  # that were answered
    recordings: int = 0  # that were asked about
    failed: int = 0  # of these, without any answer
    reasons: Mapping[str, int] = field(default_factory=dict)  # rows without an answer, by code
    tainted: str = ""  # why the version should no longer be used
    without_noise: tuple[str, ...] = ()  # inputs that it learnt from with noise mixed in, and is asked without
    without_degrading: tuple[str, ...] = ()  # inputs of pictures blurred or covered, and asked about as they are

    @property
    def failed_share(self) -> float:
        """Return the share of recordings without any answer."""
        return self.failed / self.recordings if self.recordings else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self) | {
            "answers": [answer.as_json() for answer in self.answers],
            "unanswered": [drop.as_json() for drop in self.unanswered],
        }

    def table(self) -> list[dict[str, Any]]:
        """Return one row per clip."""
        return [
            {
                "file": answer.source,
                "start_s": round(answer.start_s, 3),
                "end_s": round(answer.end_s, 3),
                **{name: _short(value) for name, value in answer.said.items() if not isinstance(value, dict)},
            }
            for answer in self.answers
        ]


def predict_files(
    config: Config,
    paths: Sequence[Path],
    reference: str,
    progress: Progress = SILENT,
    take: Take | None = None,
    exclude: frozenset[Path] = frozenset(),
) -> PredictReport:
    """Answer for every clip of raw files and folders; a file's sidecars of the same stem belong to it.

    `reference` is NAME (what is in production) or NAME@VERSION. With `take`, rows are handed on as they come, and none
    is held; `exclude` names files that are not asked about, as that of the answers. ConfigError: an installed
    extractor differs from the one that the model was trained with.
    """
    version = find_askable(config, reference)
    told = _Told(take=take)
    with tempfile.TemporaryDirectory(prefix="mmpipe-predict-") as folder:
        staging = Path(folder)
        asked = asked_config(version, config, staging, staging)
        found = find_recordings(paths, asked.corpora[CORPUS], exclude)
        progress.start("predict", sum(len(part.stems) for part in found))
        with open_asking(asked, inputs_of(version)) as asking:
            network = load_network(version, asking.schemas)
            for part in found:
                told.prefix = part.prefix
                told.refuse(part.unusable)
                told.mention(part.beside)
                for stems in _windows(part, asking.workers * _STEMS_PER_WORKER):
                    told.add(stems, _answer(asking, network, part.root, staging, stems, progress))
    return PredictReport(
        model=version.name,
        version=version.label,
        answers=tuple(told.answers),
        unanswered=tuple(told.unanswered),
        status=version.status,
        clips=told.clips,
        recordings=told.recordings,
        failed=told.failed,
        reasons=dict(sorted(told.reasons.items())),
        tainted=str(read_taint(StoreLayout(config.store).models, version.name, version.label) or ""),
        without_noise=spoilt_inputs(version, "noise"),
        without_degrading=spoilt_inputs(version, "degrade"),
    )


def find_askable(config: Config, reference: str) -> Version:
    """Return the version that is meant, whole and trusted; ConfigError where it answers nothing."""
    named = parse_reference(reference)
    version = find_version(StoreLayout(config.store).models, named.name, named.ref)
    require_trusted(config, version)
    if version.status == EXPERIMENTAL:
        raise ConfigError(
            f"{version.name}@{version.label} is an encoder: it answers nothing. Make a feature of it, with "
            f'extractor = "release:{version.name}@{version.number}"'
        )
    return version


@dataclass(slots=True, kw_only=True)
class _Told:
    """What was said up to now: handed on, or held for the report."""

    take: Take | None
    answers: list[Answer] = field(default_factory=list)
    unanswered: list[Unanswered] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    clips: int = 0
    recordings: int = 0
    failed: int = 0
    prefix: str = ""  # of the sources that are told

    def refuse(self, rows: Sequence[Unanswered]) -> None:
        """Tell what cannot be asked about; what is left out by rule was never meant to be data."""
        bad = sum(row.code != "filtered" for row in rows)
        self.recordings += bad
        self.failed += bad
        for row in rows:
            self._tell(row)

    def mention(self, rows: Sequence[Unanswered]) -> None:
        """Tell what is no recording at all."""
        for row in rows:
            self._tell(row)

    def add(self, stems: Sequence[AssetFiles], rows: Sequence[Answer | Unanswered]) -> None:
        """Tell what was said of recordings."""
        answered = {row.source for row in rows if isinstance(row, Answer)}
        self.recordings += len(stems)
        self.failed += sum(stem.source_id not in answered for stem in stems)
        for row in rows:
            self._tell(row)

    def _tell(self, row: Answer | Unanswered) -> None:
        if self.prefix:
            row = replace(row, source=self.prefix + row.source)
        if isinstance(row, Answer):
            self.clips += 1
        else:
            self.reasons[row.code] += 1
        if self.take:
            self.take(row)
        elif isinstance(row, Answer):
            self.answers.append(row)
        else:
            self.unanswered.append(row)


def _windows(part: Recordings, size: int) -> Iterator[tuple[AssetFiles, ...]]:
    yield from (part.stems[start : start + size] for start in range(0, len(part.stems), size))


def _answer(
    asking: Asking,
    network: ReleasedNetwork,
    root: Path,
    staging: Path,
    stems: Sequence[AssetFiles],
    progress: Progress,
) -> list[Answer | Unanswered]:
    """Return the rows of some recordings, by source and time; features go as soon as they are answered from."""
    size = max(1, min(_STEMS_PER_CALL, -(-len(stems) // asking.workers)))
    calls = {str(start): stems[start : start + size] for start in range(0, len(stems), size)}
    works = {name: asking.work(root, staging, group) for name, group in calls.items()}
    rows: list[tuple[str, float, Answer | Unanswered]] = []
    for name, reply in _replies(asking, root, staging, works):
        answers, lost = network.answer(reply.clips)
        lost += [Unanswered.of(drop) for drop in reply.drops if not drop.kept]
        rows += [(answer.source, answer.start_s, answer) for answer in answers]
        rows += [(row.source, -1.0, row) for row in lost]
        progress.advance("predict", len(calls[name]))
    return [row for *_, row in sorted(rows, key=lambda entry: entry[:2])]


def _replies(asking: Asking, root: Path, staging: Path, works: Mapping[str, AskWork]) -> Iterator[tuple[str, AskReply]]:
    """Yield what came of each call; one that came to nothing is made again, recording by recording."""
    for name, reply in asking.ask(works):
        stems = works[name].stems
        if not reply.failure or len(stems) == 1:
            yield name, reply
            continue
        alone = {stem.source_id: asking.work(root, staging, (stem,)) for stem in stems}
        told = [again for _, again in asking.ask(alone)]
        clips = tuple(clip for again in told for clip in again.clips)
        yield name, AskReply(clips=clips, drops=tuple(drop for again in told for drop in again.drops))


def _short(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value
