"""A search on disk, which several processes may work on, and which goes on where they were killed.

STORE/_runs/tune/NAME-<digest>/journal.jsonl   every trial, as Optuna writes it
STORE/_runs/tune/NAME-<digest>/study.json      what the search is of
STORE/_runs/tune/NAME-<digest>/again/          what the best came to with other seeds
STORE/_runs/tune/NAME-<digest>/best.toml       what is to be put into the config

The digest is of the snapshot, the model and the space: other data or another space is another search. What is asked
for depends on the finished trials and on how many were begun, and on nothing that a killed process would lose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mmpipe.config import Measure, Pruner, TuneConfig
from mmpipe.io import canonical_json, make_directory, replace_bytes
from mmpipe.steps.train.tune_journal import JOURNAL_NAME, open_journal, require_optuna
from mmpipe.steps.train.tune_space import Axis, draw
from mmpipe.types import digest_of

MOST_KILLS = 3  # a trial that ended its process so often is not tried again: its memory may not suffice
WHY, DRAWN, LEFT, KILLS, WORKER = "why", "drawn", "left", "kills", "worker"  # what a trial remembers beside its values


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A trial that is this process's to do."""

    trial: Any  # Optuna's
    point: dict[str, Any]


class TuneStudy:
    """One search."""

    def __init__(self, folder: Path, tune: TuneConfig, axes: Sequence[Axis], most_epochs: int) -> None:
        self.folder, self.tune = folder, tune
        self._axes, self._most_epochs = axes, most_epochs
        self._study: Any = None
        self._worker = -1  # this process's number among those that work on the search

    @property
    def name(self) -> str:
        """Return the name of the folder."""
        return self.folder.name

    @property
    def rises(self) -> bool:
        """Say whether more is better."""
        return self.tune.measure is Measure.SCORE

    @contextmanager
    def work(self, about: dict[str, Any]) -> Iterator[None]:
        """Work on the search as long as the block lasts: it is made on disk, or what is there is opened."""
        make_directory(self.folder)
        with self._one_at_a_time():
            replace_bytes(self.folder / "study.json", canonical_json(about))
            self._study = self._create()
            self._worker = next(number for number in count() if not self._is_taken(number))
            lock = self._lock_of(self._worker)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()  # of a killed process the kernel does it

    def look(self) -> None:
        """Open what is there to read it; make nothing."""
        if (self.folder / JOURNAL_NAME).exists():
            self._study = require_optuna().load_study(study_name=self.name, storage=open_journal(self.folder))

    @contextmanager
    def ask(self, num_trials: int) -> Iterator[Asked | None]:
        """Yield the next trial of so many, None where all were begun; it is this process's as long as the block lasts.

        A trial that is left without an answer is one of a killed process, and is begun again.
        """
        with self._one_at_a_time():
            self._take_back()
            asked = self._next() if self._num_begun() < num_trials else None
        try:
            yield asked
        except BaseException:
            if asked and any(trial.number == asked.trial.number for trial in self.trials("RUNNING")):
                asked.trial.set_user_attr(LEFT, True)  # by an error or a person: nothing that the trial did
            raise

    def answer(self, asked: Asked, value: float) -> None:
        """Say what a trial came to."""
        self._study.tell(asked.trial, value)

    def give_up(self, asked: Asked, why: str) -> None:
        """Say that a trial was ended early, and why."""
        asked.trial.set_user_attr(WHY, why)
        self._study.tell(asked.trial, state=self._states().PRUNED)

    def trials(self, *states: str) -> list[Any]:
        """Return Optuna's records of the trials, by default those that stand: killed ones are not among them."""
        wanted = states or ("COMPLETE", "PRUNED", "RUNNING")
        return [trial for trial in self._all() if trial.state.name in wanted]

    def best(self, most: int) -> list[Any]:
        """Return the best finished trials, the best first; of equals the earlier. The same point counts once."""
        found: dict[str, Any] = {}
        for trial in sorted(self.trials("COMPLETE"), key=lambda trial: (self._worse(trial.value), trial.number)):
            found.setdefault(repr(sorted(trial.params.items())), trial)
        return list(found.values())[:most]

    def num_running(self) -> int:
        """Return how many trials living processes are at."""
        if not (running := self.trials("RUNNING")):
            return 0
        with self._one_at_a_time():  # to ask for a worker's lock is to hold it for a moment
            return sum(self._is_living(trial) for trial in running)

    def num_left(self, num_trials: int) -> int:
        """Return how many trials of so many are still to be begun; those of killed processes are."""
        return max(0, num_trials - len(self.trials("COMPLETE", "PRUNED")) - self.num_running())

    def _worse(self, value: float) -> float:
        return -value if self.rises else value

    def _create(self) -> Any:
        optuna = require_optuna()
        return optuna.create_study(
            storage=open_journal(self.folder),
            study_name=self.name,
            direction="maximize" if self.rises else "minimize",
            pruner=self._pruner(),
            load_if_exists=True,
        )

    def _pruner(self) -> Any:
        optuna = require_optuna()
        if self.tune.pruner is Pruner.HYPERBAND:
            return optuna.pruners.HyperbandPruner(max_resource=self._most_epochs)
        if self.tune.pruner is Pruner.MEDIAN:
            return optuna.pruners.MedianPruner(n_warmup_steps=self._most_epochs // 10)
        return optuna.pruners.NopPruner()

    def _next(self) -> Asked:
        """Begin the next trial; its numbers are drawn from its place among those that were begun."""
        optuna = require_optuna()
        seed = int(digest_of("point", self.tune.seed, self._num_begun())[:8], 16)
        self._study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.tune.startup_trials)
        trial = self._study.ask()
        trial.set_user_attr(WORKER, self._worker)
        point = draw(trial, self._axes)
        trial.set_user_attr(DRAWN, True)
        return Asked(trial=trial, point=point)

    def _take_back(self) -> None:
        """Fail what killed processes were at; what was drawn wholly is waiting again."""
        states = self._states()
        for trial in self.trials("RUNNING"):
            if self._is_living(trial):
                continue
            kills = trial.user_attrs.get(KILLS, 0) + (LEFT not in trial.user_attrs)
            if kills >= MOST_KILLS:
                self._study.tell(trial.number, state=states.PRUNED)
                continue
            self._study.tell(trial.number, state=states.FAIL)
            if trial.user_attrs.get(DRAWN):
                self._study.enqueue_trial(trial.params, user_attrs={KILLS: kills})

    def _num_begun(self) -> int:
        return len(self.trials())

    def _all(self) -> list[Any]:
        return list(self._study.get_trials(deepcopy=False)) if self._study else []

    def _states(self) -> Any:
        return require_optuna().trial.TrialState

    def _is_living(self, trial: Any) -> bool:
        """Say whether another process is at a trial; asked while this one is at none."""
        worker = trial.user_attrs.get(WORKER, self._worker)
        return bool(worker != self._worker and self._is_taken(worker))

    def _is_taken(self, worker: int) -> bool:
        lock = self._lock_of(worker)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False

    def _lock_of(self, worker: int) -> FileLock:
        return FileLock(self.folder / f"worker-{worker}.lock")

    def _one_at_a_time(self) -> FileLock:
        return FileLock(self.folder / "ask.lock")
