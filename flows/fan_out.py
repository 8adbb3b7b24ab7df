"""Which child of a run is next, and which are over: the bookkeeping is pure, and one loop speaks to the door."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flows.runs import Child, Run, Runs

# A crashed child may be started again: by an automation within half a minute, else by deployments/recover.py within
# 150 s. After so many looks nobody will.
CRASHED_LOOKS = 36
CRASHED_TRIES = 3  # so often a child that nobody starts again is tried anew


@dataclass(slots=True, kw_only=True)
class FanOut:
    """What waits, what lives and what is over, by subject."""

    wanted: frozenset[str]
    waiting: list[str]
    tries: Counter[str]  # of each subject, in all lives of the parent
    living: dict[str, Run] = field(default_factory=dict)
    over: dict[str, Run] = field(default_factory=dict)
    crashed_looks: Counter[str] = field(default_factory=Counter)  # for how many looks a child has been crashed
    crashes: Counter[str] = field(default_factory=Counter)  # that nobody has cured, in this life

    @classmethod
    def begin(cls, subjects: Iterable[str], earlier: Sequence[Run], *, keep_complete: bool) -> FanOut:
        """Take up what earlier lives of the parent have started; what ended badly then is tried once more."""
        names = tuple(dict.fromkeys(subjects))
        last = {run.subject: run for run in sorted(earlier, key=lambda run: run.number)}
        living = {name: run for name, run in last.items() if not run.is_over or run.is_crashed}
        kept = {name: run for name, run in last.items() if keep_complete and run.is_complete}
        return cls(
            wanted=frozenset(names),
            waiting=[name for name in names if name not in living and name not in kept],
            tries=Counter(run.subject for run in earlier),
            living=living,
            over=kept,
        )

    @property
    def is_over(self) -> bool:
        """Say whether nothing waits and nothing lives."""
        return not self.waiting and not self.living

    def next_subjects(self, max_in_flight: int) -> tuple[str, ...]:
        """Return what may start now, in order."""
        return tuple(self.waiting[: max(0, max_in_flight - len(self.living))])

    def note_started(self, run: Run) -> None:
        """Note that a child was started."""
        self.waiting.remove(run.subject)
        self.tries[run.subject] += 1
        self.living[run.subject] = run

    def note_looks(self, runs: Iterable[Run]) -> bool:
        """Note how the living are, one that was deleted too; say whether anything changed."""
        found = {run.subject: run for run in runs}
        before = dict(self.living)
        for name, run in before.items():
            self._note_look(found.get(name) or replace(run, state="Deleted", is_over=True, is_crashed=False))
        return before != self.living

    def _note_look(self, run: Run) -> None:
        self.living[run.subject] = run
        self.crashed_looks[run.subject] = self.crashed_looks[run.subject] + 1 if run.is_crashed else 0
        if not run.is_over or 0 < self.crashed_looks[run.subject] < CRASHED_LOOKS:
            return
        del self.living[run.subject]
        self.crashes[run.subject] += run.is_crashed
        if run.is_crashed and run.subject in self.wanted and self.crashes[run.subject] < CRASHED_TRIES:
            self.crashed_looks[run.subject] = 0
            self.waiting.insert(0, run.subject)
        else:
            self.over[run.subject] = run


def run_children(
    children: Sequence[Child],
    runs: Runs,
    *,
    max_in_flight: int = 1,
    keep_complete: bool = False,
    tell: Callable[[FanOut], None] = lambda _: None,
) -> Mapping[str, Run]:
    """Start each child once, so many at once, and wait for all; return how each subject ended, good or bad.

    With `keep_complete` a subject that an earlier life of this run completed is not started again.
    """
    wanted = {child.subject: child for child in children}
    course = FanOut.begin(wanted, runs.children(), keep_complete=keep_complete)
    tell(course)
    while not course.is_over:
        for subject in course.next_subjects(max_in_flight):
            course.note_started(runs.start(wanted[subject], course.tries[subject]))
        runs.pause()
        if course.note_looks(runs.look([run.id for run in course.living.values()])):
            tell(course)
    return course.over


def cancel_children(runs: Runs) -> int:
    """Cancel every child that lives; return how many there were."""
    living = [run for run in runs.children() if not run.is_over]
    for run in living:
        runs.cancel(run)
    return len(living)
