"""Freshness: is every feature as new as its consumers were promised?

A feature that is late ends the run as Completed, with its name in the message and a notice of its own. The check has
worked; a run that failed is a check that did not, which is another fault, and an automation tells of it as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.life import refuse_endless_starts
from flows.naming import run_name
from flows.parameters import FreshnessParameters
from flows.target import read_config
from mmpipe.config import Config
from tasks.artifacts import run_page
from tasks.freshness import Status, check_freshness

DEFAULTS = FreshnessParameters()


@flow(name="freshness", flow_run_name=run_name, persist_result=False)
def freshness(parameters: FreshnessParameters = DEFAULTS) -> State[Any]:
    """Compare the age of every feature with `max_age_h`, and tell of those that are late."""
    refuse_endless_starts()
    config = read_config(parameters)
    found: dict[str, Status] = {}
    with run_page("freshness") as page:
        for corpus in corpora_with_objective(config, parameters.corpus):
            found[corpus] = check_freshness(config, corpus)
            page.rows.extend(freshness_rows(corpus, found[corpus]))
        page.note("freshness", describe(found))
    return Completed(message=describe(found))


def corpora_with_objective(config: Config, corpus: str) -> tuple[str, ...]:
    """Return the corpus that was asked for, or every one that promises an age."""
    if corpus:
        return (config.corpus(corpus)[0],)
    return tuple(name for name, source in sorted(config.corpora.items()) if source.max_age_h or source.max_age_h_of)


def freshness_rows(corpus: str, found: Status) -> list[dict[str, Any]]:
    """Return one row a feature: what is late first."""
    return [
        {
            "corpus": corpus,
            "feature": fresh.feature,
            "late": "late" if fresh.late else "",
            "newest whole date": fresh.newest or "none",
            "hours since it ended": "" if fresh.age_h is None else round(fresh.age_h, 1),
            "allowed": "" if fresh.max_age_h is None else fresh.max_age_h,
            "published": fresh.published,
        }
        for fresh in sorted(found.freshness, key=lambda fresh: not fresh.late)
    ]


def describe(found: Mapping[str, Status]) -> str:
    """Say what is late, or that nothing is."""
    if not found:
        return "no corpus has a `max_age_h`: nothing is promised"
    late = [f"{corpus}: {status.sentence(fresh)}" for corpus, status in found.items() for fresh in status.late()]
    num_features = sum(len(status.freshness) for status in found.values())
    return (
        f"{len(late)} of {num_features} features late: {'; '.join(late)}" if late else f"{num_features} features fresh"
    )
