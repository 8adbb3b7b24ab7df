"""Metrics of a store as Prometheus reads them: from what is committed and what stages left, never from a process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmpipe.errors import ConfigError
from mmpipe.watch.totals import BOUNDS_S, StageTotals

if TYPE_CHECKING:
    from prometheus_client.core import Metric

STATES = ("complete", "missing", "stale", "failed", "running")  # all are told, so that an alert has a zero to rise from
_STAGE = ("stage", "corpus", "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFacts:
    """What is committed of one feature."""

    feature: str
    values: int
    nbytes: int  # of the files that the newest manifests name
    shards: Mapping[str, int]  # by state
    newest_age_s: float | None  # since its newest whole date ended; None: there is none
    late: bool  # it is older than the corpus allows


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusFacts:
    """What there is of one corpus."""

    corpus: str
    readable: bool  # False: the rest could not be found out
    clips: int = 0
    features: Sequence[FeatureFacts] = ()
    quarantined: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by stage and code


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the newest version of a model is worth."""

    model: str
    version: int
    refused: bool  # by the gate
    measure: str  # what `worth` is of
    worth: float | None
    production: int  # number of the version in use; 0: none


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """All that is told of a store."""

    corpora: Sequence[CorpusFacts]
    models: Sequence[ModelFacts]
    stages: Sequence[StageTotals]
    free_bytes: int | None  # None: nobody can say, as of an object store


def render_facts(facts: StoreFacts) -> bytes:
    """Return the text that Prometheus scrapes; ConfigError where prometheus_client is not installed."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest
    except ModuleNotFoundError as error:
        raise ConfigError("prometheus_client is not installed. Run: pip install 'mmpipe[pipeline]'") from error

    class Facts:
        """Collects once, what was found out before."""

        def collect(self) -> Iterator[Metric]:
            """Yield every metric with all its samples."""
            yield from _corpora(facts.corpora)
            yield from _models(facts.models)
            yield from _stages(facts.stages)
            if facts.free_bytes is not None:
                yield _gauge("store_free_bytes", "Free bytes where the store lies.", (), {(): facts.free_bytes})

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Facts())
    return bytes(generate_latest(registry))


def _corpora(corpora: Sequence[CorpusFacts]) -> Iterator[Metric]:
    known = [corpus for corpus in corpora if corpus.readable]
    features = {(corpus.corpus, one.feature): one for corpus in known for one in corpus.features}
    by_feature = ("corpus", "feature")
    yield _gauge(
        "corpus_readable", "1 where the corpus could be read.", ("corpus",), {(c.corpus,): c.readable for c in corpora}
    )
    yield _gauge("clips", "Clips that are in use.", ("corpus",), {(c.corpus,): c.clips for c in known})
    yield _gauge("values", "Committed values.", by_feature, {key: one.values for key, one in features.items()})
    yield _gauge(
        "store_bytes",
        "Bytes of the files that the newest manifests name.",
        by_feature,
        {key: one.nbytes for key, one in features.items()},
    )
    yield _gauge(
        "shards",
        "Shards by state, as the ledger judges them.",
        (*by_feature, "state"),
        {(*key, state): one.shards.get(state, 0) for key, one in features.items() for state in STATES},
    )
    yield _gauge(
        "newest_partition_age_seconds",
        "Time since the newest whole date of the feature ended; absent where no date is whole.",
        by_feature,
        {key: one.newest_age_s for key, one in features.items() if one.newest_age_s is not None},
    )
    yield _gauge(
        "feature_late",
        "1 where the feature is older than the corpus allows.",
        by_feature,
        {key: one.late for key, one in features.items()},
    )
    yield _gauge(
        "quarantined",
        "What is in quarantine, by the stage where it fell out and the reason.",
        ("corpus", "stage", "code"),
        {(corpus.corpus, *why): count for corpus in known for why, count in corpus.quarantined.items()},
    )


def _models(models: Sequence[ModelFacts]) -> Iterator[Metric]:
    by_model = ("model",)
    yield _gauge("model_version", "Number of the newest version.", by_model, {(m.model,): m.version for m in models})
    yield _gauge(
        "model_refused",
        "1 where the gate refused the newest version.",
        by_model,
        {(m.model,): m.refused for m in models},
    )
    yield _gauge(
        "model_production_version",
        "Number of the version in production; 0: none.",
        by_model,
        {(m.model,): m.production for m in models},
    )
    yield _gauge(
        "model_worth",
        "Measured worth of the newest version on unseen clips.",
        ("model", "measure"),
        {(m.model, m.measure): m.worth for m in models if m.worth is not None},
    )


def _stages(stages: Sequence[StageTotals]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    seconds = HistogramMetricFamily("mmpipe_stage_seconds", "Duration of the stages that ended.", labels=_STAGE)
    runs = CounterMetricFamily("mmpipe_stage_runs", "Stages that ended, by how.", labels=(*_STAGE, "ending"))
    for one in stages:
        labels = _labels(one)
        below, buckets = 0, []
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), one.classes, strict=True):
            below += count
            buckets.append((bound, below))
        seconds.add_metric(labels, buckets, sum_value=one.seconds)
        for ending in ("completed", "failed", "aborted"):
            runs.add_metric([*labels, ending], getattr(one, ending))
    yield seconds
    yield runs
    yield _gauge(
        "stage_last_success_timestamp_seconds",
        "When the stage last completed; absent where it never did.",
        _STAGE,
        {tuple(_labels(one)): one.last_success_s for one in stages if one.last_success_s},
    )
    yield _gauge(
        "stage_last_end_timestamp_seconds",
        "When the stage last ended, however.",
        _STAGE,
        {tuple(_labels(one)): one.last_end_s for one in stages},
    )


def _labels(totals: StageTotals) -> list[str]:
    return [totals.stage, totals.corpus, totals.model]


def _gauge(name: str, said: str, labels: Sequence[str], samples: Mapping[tuple[str, ...], Any]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"mmpipe_{name}", said, labels=labels)
    for key, value in sorted(samples.items()):
        family.add_metric(key, float(value))
    return family
