"""Do one step of a night in a process of its own, which a test may kill.

`kill_child.py JOB CONFIG [BARRIER]` does one job; `kill_child.py serve MODULE...` does those asked for, each in a fork.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from mmpipe.config import Config, parse_config
from mmpipe.errors import MmpipeError
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus, ingest_reason
from mmpipe.steps.plan.plan import Only, plan_corpus

CORPUS = "talk"
DT = "2026-11-20"


def fill(config: Config) -> None:
    """Ingest and extract what is due, as a night does: each step only where the ledger asks for it."""
    if ingest_reason(config, CORPUS, DT):
        ingest_corpus(config, CORPUS, DT)
    plan = plan_corpus(config, CORPUS)
    if not plan.is_empty:
        extract_plan(config, plan)


def fill_again(config: Config) -> None:
    """Ingest, and extract everything anew: what two of these at once must fight about."""
    ingest_corpus(config, CORPUS, DT)
    extract_plan(config, plan_corpus(config, CORPUS, only=Only.ALL, force=True))


def take_in(config: Config) -> None:
    """Ingest alone."""
    ingest_corpus(config, CORPUS, DT)


def train(config: Config) -> None:
    """Train the only model."""
    from mmpipe.steps.train.train import train_model

    train_model(config, config.model(None)[0])


def release(config: Config) -> None:
    """Train and release the only model."""
    from mmpipe.steps.release.release import release_model
    from mmpipe.steps.train.train import train_model

    name, _ = config.model(None)
    release_model(config, name, train_model(config, name).checkpoint)


JOBS = {job.__name__: job for job in (fill, fill_again, take_in, train, release)}


def serve() -> None:
    """Do each requested job in a fork of a process that has imported everything and done nothing."""
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.environ.update(request["environment"])
            sys.stderr = open(request["log"], "w")  # noqa: SIM115 - the fork's own, to its end
            os._exit(do(request["job"], Path(request["config"])))
        if (delay_s := request["kill_after_s"]) is not None:
            time.sleep(delay_s)
            os.kill(pid, signal.SIGKILL)
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])), flush=True)


def do(job: str, path: Path) -> int:
    """Do a job and return the exit code."""
    try:
        JOBS[job](parse_config(json.loads(path.read_text())))
    except MmpipeError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except Exception:  # noqa: BLE001 - the fork's own border: the test sees the code and the log
        traceback.print_exc()
        sys.stderr.flush()
        return 99
    return 0


def main() -> None:
    """Do the job of the command line, with a barrier once that file is there; or serve."""
    if sys.argv[1] == "serve":
        for module in sys.argv[2:]:
            importlib.import_module(module)
        serve()
        return
    job, path, *barrier = sys.argv[1:]
    print("ready", flush=True)
    while barrier and not os.path.exists(barrier[0]):
        time.sleep(0.001)
    sys.exit(do(job, Path(path)))


if __name__ == "__main__":
    main()
