"""Kill flows, workers, servers and children at random, round after round: `python -m tests.faults.rounds --help`."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from deployments.services import ROOT
from tests.faults.blows import KINDS, Victim, draw_rounds
from tests.faults.clips import Clips, make_clips
from tests.faults.contest import Contest, Outcome
from tests.faults.house import PORT, House

CORPORA = ROOT.parent / "shared" / "corpora"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; exit 1 where something that must hold did not."""
    options = _parse(arguments)
    home = options.home or Path(tempfile.mkdtemp(prefix="mmpipe-rounds-"))
    start_s = time.monotonic()
    violations, outcomes = play_rounds(home, options)
    summary = summarise(violations, outcomes, time.monotonic() - start_s)
    (home / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print("| round | run | struck | settled after | verdict |\n|---|---|---|---|---|")
    print(*map(line_of, outcomes), sep="\n")
    print(json.dumps({name: value for name, value in summary.items() if name != "table"}, indent=1))
    if summary["violations"]:
        _say(f"something did not hold; everything is kept in {home}")
        return 1
    if options.home is None:
        shutil.rmtree(home)
    return 0


def play_rounds(home: Path, options: argparse.Namespace) -> tuple[list[str], list[Outcome]]:
    """Lay everything out, bring a house up, play the rounds, and bring it down."""
    home.mkdir(parents=True, exist_ok=True)
    clips = make_clips(home, options.corpora, options.clips, options.seed)
    references = {kind: _reference(clips, kind) for kind in options.kinds}
    house = House(folder=home, port=options.port)
    contest = Contest(house, clips, references, random.Random(options.seed))
    violations: list[str] = []
    outcomes: list[Outcome] = []
    try:
        contest.begin(clips.write_config("nightly", "home"))
        if not options.no_undisturbed:
            violations += [fault for kind in options.kinds for fault in contest.try_undisturbed(kind)]
            _say(f"undisturbed: {violations or 'as it must be'}")
        drawn = draw_rounds(options.rounds, options.seed, options.victims, options.kinds)
        for played in drawn[options.first :]:
            outcomes.append(contest.play(played))
            _say(line_of(outcomes[-1]))
            if time.monotonic() > options.deadline_s:
                break
    finally:
        house.down()
    left = house.processes()
    return violations + [f"alive after `down`: {process}" for process in left], outcomes


def summarise(violations: Sequence[str], outcomes: Sequence[Outcome], took_s: float) -> dict[str, object]:
    """Return what the rounds came to, as plain values."""
    found = [*violations, *(f"round {it.round.number}: {fault}" for it in outcomes for fault in it.violations)]
    hit = Counter(" ".join(words[:2]) for it in outcomes for text in it.hits if (words := text.split())[0][:3] == "SIG")
    return {
        "rounds": len(outcomes),
        "took_s": round(took_s),
        "hits": dict(sorted(hit.items())),
        "violations": found,
        "table": [_row(outcome) for outcome in outcomes],
    }


def line_of(outcome: Outcome) -> str:
    """Return the row of a round for a person."""
    hits = ", ".join(" ".join(text.split()[:3]) for text in outcome.hits)
    verdict = "; ".join(outcome.violations) or "held"
    return f"| {outcome.round.number:2d} | {outcome.round.kind} | {hits} | {outcome.settled_s:.0f} s | {verdict} |"


def _row(outcome: Outcome) -> dict[str, object]:
    values = {**asdict(outcome), "round": outcome.round.number, "settled_s": round(outcome.settled_s)}
    return {"kind": outcome.round.kind, "planned": str(outcome.round), **values}


def _reference(clips: Clips, kind: str) -> Path:
    """Fill a store in a process of its own, through the library alone."""
    config = clips.write_config(kind, f"reference-{kind}")
    subprocess.run([sys.executable, "-m", "tests.faults.clips", str(config), kind], cwd=ROOT, check=True)
    return config.parent / "store"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.rounds", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, help="go on with this round of those that the seed draws")
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--home", type=Path, help="folder of everything, kept; default: a temporary one")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what is run and struck")
    parser.add_argument("--victims", nargs="+", type=Victim, choices=list(Victim), default=list(Victim))
    parser.add_argument("--port", type=int, default=PORT, help="first port to try")
    parser.add_argument("--corpora", type=Path, default=CORPORA, help="real media; made tones where it is absent")
    parser.add_argument("--no-undisturbed", action="store_true", help="do not begin with runs that nobody strikes")
    parser.add_argument("--minutes", type=float, default=24 * 60, help="begin no round after so many minutes")
    options = parser.parse_args(arguments)
    options.deadline_s = time.monotonic() + 60 * options.minutes
    return options


def _say(text: str) -> None:
    print(f"rounds: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the house is brought down
    sys.exit(main())
