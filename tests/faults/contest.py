"""One round: a run is struck, everything recovers as shipped, and what must hold is checked."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mmpipe.config import load_config
from mmpipe.store.layout import StoreLayout
from mmpipe.store.verify import verify_store
from tests.faults.blows import Blow, Round, Victim
from tests.faults.clips import POISONED, Clips, content, differing
from tests.faults.house import House, Run, Unreachable
from tests.faults.processes import Process, flows_and_children, send, strays
from tests.faults.zombies import ZombieWatch

_LOOK_S = 0.5
_GONE_S = 30.0
_REVIVED_S = 480.0  # somebody looks for runs that claim to work every five minutes
_SERVICES_S = 120.0
_WHOLE_S = 1_500.0
_VICTIM_S = 60.0
_MOMENT_S = 240.0
_JITTER_S = 2.0
_SERVICES = (Victim.WORKER, Victim.SERVER, Victim.KEEPER)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a round came to."""

    round: Round
    hits: list[str] = field(default_factory=list)
    struck_run: str = ""
    next_run: str = ""
    settled_s: float = 0.0
    violations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Contest:
    """The house, the clips, and what nobody disturbed."""

    def __init__(self, house: House, clips: Clips, references: dict[str, Path], draw: random.Random) -> None:
        self.house = house
        self.clips = clips
        self.references = {kind: content(store) for kind, store in references.items()}
        self.num_objects = {kind: count_objects(store) for kind, store in references.items()}
        self.expected = frozenset[str]()
        self._draw = draw

    def begin(self, home_config: Path) -> None:
        """Bring the house up, and remember what it consists of."""
        self.house.up(home_config)
        self.home_config = home_config
        self.expected = frozenset(self.house.services())

    def try_undisturbed(self, kind: str) -> list[str]:
        """Run a kind undisturbed: see that it gives the bytes of the library."""
        config = self.clips.write_config(kind, f"undisturbed-{kind}")
        run = self._await_end(self._start(kind, config), _WHOLE_S)
        faults = self._check_end(run, kind, "the run") + self._check_store(config, kind)
        return [f"undisturbed {kind}: {fault}" for fault in faults]

    def play(self, played: Round) -> Outcome:
        """Strike one run, let everything recover, run the next one, and check."""
        outcome = Outcome(round=played)
        try:
            self._play(played, outcome)
        except (Unreachable, RuntimeError) as error:
            outcome.violations.append(f"the round could not be played to its end: {error}")
            self.house.up(self.home_config)  # the next round begins in a whole house
        return outcome

    def _play(self, played: Round, outcome: Outcome) -> None:
        config = self.clips.write_config(played.kind, f"round-{played.number:03d}")
        first = self._start(played.kind, config)
        for blow in played.blows:
            self._await_moment(blow, played.kind, config, first)
            outcome.hits.append(self._strike(blow, first))
        if played.restarts_server:
            outcome.hits.append(self._restart_server())
        struck_s = time.monotonic()
        outcome.violations += self._recover(played)
        following = self._start(played.kind, config)
        outcome.violations += self._settle(config)
        outcome.settled_s = time.monotonic() - struck_s
        outcome.struck_run, run = str(self.house.run(first)), self.house.run(following)
        outcome.next_run = str(run)
        outcome.violations += self._check_revived(first, played.kind)
        faults = self._check_end(run, played.kind, "the next run")
        if faults:  # is it lost, or does the one after it mend it?
            after = self._await_end(self._start(played.kind, config), _WHOLE_S)
            outcome.notes.append(f"the run after the next one: {after}")
        outcome.violations += [*faults, *self._check_store(config, played.kind), *self._check_strays()]

    def _start(self, kind: str, config: Path) -> str:
        if kind == "backfill":
            self.clips.poison()
        return self.house.start(kind, config)

    # ------------------------------------------------------------------ blows

    def _await_moment(self, blow: Blow, kind: str, config: Path, run_id: str) -> None:
        """Wait until the run has made its share of the objects, or is over; a share near nothing means its start."""
        wanted = int(blow.moment * self.num_objects[kind])
        store = config.parent / "store"
        give_up_s = time.monotonic() + _MOMENT_S  # after a first blow it may make no more without a person
        while count_objects(store) < wanted and time.monotonic() < give_up_s and not self._has_ended(run_id):
            time.sleep(0.2)
        time.sleep(self._draw.uniform(0, _JITTER_S))  # not always at the moment when an object lands

    def _strike(self, blow: Blow, run_id: str) -> str:
        give_up_s = time.monotonic() + _VICTIM_S
        while not (found := self._candidates(blow.victim)) and not self._has_ended(run_id):
            if blow.victim in _SERVICES or time.monotonic() > give_up_s:
                return f"no {blow.victim} to hit"
            time.sleep(0.05)  # a flow or its child may take a moment to be there
        if not found:
            return f"no {blow.victim} to hit any more"
        pid, what = self._draw.choice(found)
        hit = send(pid, blow.signal)
        return f"{blow.signal.name} {blow.victim} {what}" if hit else f"the {blow.victim} had just ended"

    def _has_ended(self, run_id: str) -> bool:
        """Say whether a run is over; a server that was struck cannot tell."""
        try:
            return self.house.run(run_id, patience_s=0).has_ended
        except Unreachable:
            return False

    def _candidates(self, victim: Victim) -> list[tuple[int, str]]:
        """Return the processes that a blow can hit, with what to call them."""
        if victim in _SERVICES:
            named = self.house.services().items()
            return [(service.pid, name) for name, service in named if name.partition("-")[0] == victim]
        split = flows_and_children(self.house.processes())
        chosen = split[0] if victim is Victim.FLOW else split[1]
        return [(process.pid, process.flow_run) for process in chosen if not self._has_ended(process.flow_run)]

    def _restart_server(self) -> str:
        server = self.house.services().get("server")
        if server is None:
            return "the server was down already"
        send(server.pid, signal.SIGTERM)
        self._until(lambda: self.house.services().get("server") != server, _GONE_S)
        return f"server {server.pid} restarted"

    # ------------------------------------------------------------------ recovery

    def _recover(self, played: Round) -> list[str]:
        """Give the keeper time to bring back what is gone; without one, do as a person would."""
        missing = self.expected - set(self.house.services())
        if "keeper" in self.expected and "keeper" not in missing:
            if self._until(lambda: self.expected <= set(self.house.services()), _SERVICES_S):
                return []
            late = self.expected - set(self.house.services())
            self.house.up(self.home_config)
            return [f"the keeper did not bring back {', '.join(sorted(late))} within {_SERVICES_S:.0f} s"]
        if missing:
            self.house.up(self.home_config)
        return []

    def _settle(self, config: Path) -> list[str]:
        """Wait until every run about the config has ended; name those that claimed to work and did not."""
        watch = ZombieWatch()
        give_up_s = time.monotonic() + _WHOLE_S
        while time.monotonic() < give_up_s:
            runs = self.house.runs(config)
            if all(run.has_ended for run in runs):
                return list(watch.found.values())
            watch.look(runs, {process.flow_run for process in self.house.processes()}, time.monotonic())
            time.sleep(_LOOK_S)
        left = "; ".join(str(run) for run in self.house.runs(config) if not run.has_ended)
        return [*watch.found.values(), f"not over after {_WHOLE_S:.0f} s: {left}"]

    # ------------------------------------------------------------------ checks

    def _check_revived(self, run_id: str, kind: str) -> list[str]:
        """Hold that the struck run itself came to its end, without a person: a crashed one is started again."""
        began_s = time.monotonic()
        self._until(lambda: not self._check_end(self.house.run(run_id), kind, "the struck run"), _REVIVED_S)
        return self._check_end(self.house.run(run_id), kind, f"{time.monotonic() - began_s:.0f} s later the struck run")

    def _check_end(self, run: Run, kind: str, which: str) -> list[str]:
        """A night completes; a backfill fails for its poisoned day alone, or says that it stands in quarantine."""
        if kind == "nightly":
            return [] if run.state == "COMPLETED" else [f"{which} did not complete: {run}"]
        fails = run.state == "FAILED" and "1 of " in run.message
        # The struck run, started again, may have met this run's poison before it did: nothing is due any more.
        knows = run.state == "COMPLETED" and "quarantine" in run.message
        is_well = POISONED in run.message and (fails or knows)
        return [] if is_well else [f"{which} did not end as the poisoned day asks: {run}"]

    def _check_store(self, config: Path, kind: str) -> list[str]:
        store = load_config(config).store
        found = content(store)
        faults = [f"differs from the reference: {name}" for name in differing(found, self.references[kind])[:5]]
        return faults + [f"damaged: {finding}" for finding in verify_store(StoreLayout(store))[:5]]

    def _check_strays(self) -> list[str]:
        """Hold that nothing lives but services and what works for a run that has not ended."""
        found: list[Process] = []

        def nobody() -> bool:
            processes = self.house.processes()
            services = {service.pid for service in self.house.services().values()}
            ids = {process.flow_run for process in processes if process.flow_run}
            living = {run_id for run_id in ids if not self.house.run(run_id).has_ended}
            found[:] = strays(processes, services, living)
            return not found

        return [] if self._until(nobody, _GONE_S) else [f"orphan: {process}" for process in found]

    def _await_end(self, run_id: str, limit_s: float) -> Run:
        self._until(lambda: self.house.run(run_id).has_ended, limit_s)
        return self.house.run(run_id)

    def _until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Wait for a condition; say whether it came true."""
        give_up_s = time.monotonic() + limit_s
        while not (is_true := condition()) and time.monotonic() < give_up_s:
            time.sleep(_LOOK_S)
        return is_true


def count_objects(store: Path) -> int:
    """Return how many objects a store holds, of those too that no manifest names yet."""
    return sum(1 for _ in store.glob("*/*/objects/*/*"))
