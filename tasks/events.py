"""What people should hear of: events of our own, which an automation turns into a webhook call or a mail.

Emitting only puts the event into the queue of Prefect's own sender thread: no night waits for it or fails by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from prefect.context import FlowRunContext, TaskRunContext
from prefect.events import emit_event

from mmpipe.errors import PartialError
from mmpipe.steps.release.release import ReleaseReport

_LONGEST_TEXT = 4_000  # characters; Prefect refuses events of more than 1.5 MB


class What(StrEnum):
    """What a notice is about: the name of its event."""

    QUARANTINE_HIGH = "mmpipe.quarantine.high"
    GATE_REFUSED = "mmpipe.gate.refused"
    DRIFT_FOUND = "mmpipe.drift.found"
    FRESHNESS_MISSED = "mmpipe.freshness.missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A sentence for a person, and the corpus or model that it is about."""

    what: What
    kind: str  # "corpus" or "model"
    name: str
    text: str
    about: str = ""  # the part of it, e.g. a feature: the same is told once a day, however often it is found


def emit_notice(notice: Notice) -> None:
    """Send a notice as a Prefect event, with the flow run that it comes from; outside of one nobody is to be told."""
    if FlowRunContext.get() is None and TaskRunContext.get() is None:
        return  # to send it, Prefect would start a server of its own
    emit_event(
        event=str(notice.what),
        resource={
            "prefect.resource.id": f"mmpipe.{notice.kind}.{notice.name}",
            "prefect.resource.name": notice.name,
            "mmpipe.what": str(notice.what),
            "mmpipe.about": notice.about,
        },
        payload={"text": notice.text[:_LONGEST_TEXT]},
    )


@contextmanager
def tell_of_quarantine(corpus: str) -> Iterator[None]:
    """Tell where an ingest ends because too much of a corpus is in quarantine."""
    try:
        yield
    except PartialError as error:
        emit_notice(Notice(what=What.QUARANTINE_HIGH, kind="corpus", name=corpus, text=str(error)))
        raise


def tell_of_refusal(report: ReleaseReport) -> None:
    """Tell where the gate refused, once: a night that meets the verdict of one before says nothing."""
    if report.status == "refused" and report.is_new:
        text = f"{report.model}@{report.version} was refused. {report.sentence}"
        emit_notice(Notice(what=What.GATE_REFUSED, kind="model", name=report.model, text=text, about=report.version))


def tell_of_drift(corpus: str, reasons: Mapping[str, str]) -> None:
    """Tell of features whose values or foreign files are not as they were."""
    for feature, reason in reasons.items():
        emit_notice(Notice(what=What.DRIFT_FOUND, kind="corpus", name=corpus, text=reason, about=feature))


def tell_of_late(corpus: str, sentences: Mapping[str, str]) -> None:
    """Tell of every feature that is older than it may be."""
    for feature, sentence in sentences.items():
        emit_notice(Notice(what=What.FRESHNESS_MISSED, kind="corpus", name=corpus, text=sentence, about=feature))
