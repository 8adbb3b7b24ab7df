"""What each modality brings to a fused model, and which one is weak.

All is measured on the judged model's own answers with some modalities hidden: v(S) is its worth (of classes the
accuracy) when it has only those in S; of nothing, that of the best constant answer of what it learnt from. A modality's
Shapley value is the mean of what it adds over all orders in which modalities may come (Shapley 1953); they sum to
v(all) - v(none). Up to four modalities it is exact, over all 2^M subsets. Each is a mean over clips, and has an
interval over groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import factorial
from typing import Any

import numpy as np

from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.interval import Interval
from mmpipe.evaluate.measures.statistic import Statistic, intervals, mean_of

MOST_EXACT = 4  # modalities of which all subsets are asked

Subset = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalityShare:
    """What one modality brings, in what the goal is measured by."""

    modality: str
    alone: Interval | None  # a model trained on it alone; None where none was
    only: Interval | None  # the judged model with all others hidden; None where that was not asked
    loss_without: Interval  # what hiding it costs
    loss_permuted: Interval | None  # what it costs to give each clip another clip's values: marginals stay
    shapley: Interval | None  # None past four modalities


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakModality:
    """Which modality brings least, and whether that is more than chance."""

    modality: str
    share: Interval  # what it brings
    behind: Interval  # how much more the next one brings
    is_clear: bool  # the whole interval of `behind` is above zero
    is_idle: bool  # what hiding it costs may be nothing
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetScore:
    """The judged model with some of its modalities."""

    kept: tuple[str, ...]
    worth: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """The contribution report of one fused model."""

    model: str
    num_clips: int
    num_groups: int
    shares: tuple[ModalityShare, ...]
    subsets: tuple[SubsetScore, ...]
    weak: WeakModality | None  # None where it has one modality

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)


def measure_contribution(
    model: str,
    answers: Mapping[Subset, Answers],
    *,
    permuted: Mapping[str, Answers],
    alone: Mapping[str, Answers],
    confidence: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Ablation:
    """Return what each modality brings, from answers about the same clips by the modalities that were not hidden.

    `answers` holds the whole set, each set but one and, up to four modalities, all others including the empty one.
    """
    whole = max(answers, key=len)
    names = sorted(whole)
    keys = answers[whole].keys
    worths = {kept: found.aligned_to(keys).worth_N for kept, found in answers.items()}
    values = shapley_values(worths, names) if len(names) <= MOST_EXACT else {}
    wanted: dict[str, Statistic] = {f"v {_joined(kept)}": mean_of(worth_N) for kept, worth_N in worths.items()}
    losses = {name: worths[whole] - worths[whole - {name}] for name in names}
    for name in names:
        wanted[f"without {name}"] = mean_of(losses[name])
        if name in values:
            wanted[f"shapley {name}"] = mean_of(values[name])
        if name in permuted:
            wanted[f"permuted {name}"] = mean_of(worths[whole] - permuted[name].aligned_to(keys).worth_N)
        if name in alone:
            wanted[f"alone {name}"] = mean_of(alone[name].aligned_to(keys).worth_N)
    brought = {name: values.get(name, losses[name]) for name in names}
    weakest = min(names, key=lambda name: (brought[name].mean(), name))
    others = [name for name in names if name != weakest]
    if others:
        runner_up = min(others, key=lambda name: (brought[name].mean(), name))
        wanted["behind"] = mean_of(brought[runner_up] - brought[weakest])
        wanted["brought"] = mean_of(brought[weakest])
    found = intervals(wanted, answers[whole].groups, confidence=confidence, draws=draws, seed=seed)
    shares = tuple(
        ModalityShare(
            modality=name,
            alone=found.get(f"alone {name}"),
            only=found.get(f"v {name}"),
            loss_without=found[f"without {name}"],
            loss_permuted=found.get(f"permuted {name}"),
            shapley=found.get(f"shapley {name}"),
        )
        for name in names
    )
    weak = None
    if others:
        share = next(share for share in shares if share.modality == weakest)
        weak = _judge(
            share, runner_up, found["brought"], found["behind"], exact=weakest in values, measure=answers[whole].measure
        )
    return Ablation(
        model=model,
        num_clips=len(keys),
        num_groups=len(set(answers[whole].groups)),
        shares=shares,
        subsets=tuple(
            SubsetScore(kept=tuple(sorted(kept)), worth=found[f"v {_joined(kept)}"])
            for kept in sorted(worths, key=lambda kept: (len(kept), sorted(kept)))
        ),
        weak=weak,
    )


def shapley_values(worths: Mapping[Subset, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    """Return each modality's exact Shapley value per clip [N], from the worth of every subset per clip."""
    size = len(names)
    found = {}
    for name in names:
        parts = [
            factorial(len(kept)) * factorial(size - len(kept) - 1) / factorial(size) * (worths[kept | {name}] - worth_N)
            for kept, worth_N in worths.items()
            if name not in kept
        ]
        if len(parts) != 2 ** (size - 1):
            raise ValueError(f"a Shapley value of {size} modalities needs all {2**size} subsets, got {len(worths)}")
        found[name] = np.sum(parts, axis=0)
    return found


def _judge(
    share: ModalityShare, runner_up: str, brought: Interval, behind: Interval, *, exact: bool, measure: str
) -> WeakModality:
    is_clear, is_idle = behind.low > 0, share.loss_without.low <= 0
    kind = "Shapley value" if exact else "cost of hiding it"
    said = f"it brings {signed(brought)} of {measure} ({kind}), {signed(behind)} less than {runner_up}"
    opening = (
        f"{share.modality} is the weak modality: {said}"
        if is_clear
        else f"No modality is clearly the weakest. {share.modality} brings least, which may be chance: {said}"
    )
    cost = f"hiding it costs {signed(share.loss_without)}" + (", which may be nothing" if is_idle else "")
    return WeakModality(
        modality=share.modality,
        share=brought,
        behind=behind,
        is_clear=is_clear,
        is_idle=is_idle,
        sentence=f"{opening}; {cost}.",
    )


def signed(found: Interval) -> str:
    """Return a difference with its interval, as people read it."""
    return f"{found.estimate:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _joined(kept: Subset) -> str:
    return " ".join(sorted(kept))
