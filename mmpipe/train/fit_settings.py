"""How an encoder is fitted, and what became of it: values that load no torch."""

from __future__ import annotations

from dataclasses import dataclass

from mmpipe.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How an encoder is fitted; all of it counts."""

    seed: int = 0
    epochs: int = 10
    batch_clips: int = 16
    learning_rate: float = 2e-3
    max_rows: int = 2_000  # of a clip that training reads: longer ones are cut

    def __post_init__(self) -> None:
        """Refuse what trains nothing."""
        if min(self.epochs, self.batch_clips, self.max_rows) < 1 or self.learning_rate <= 0:
            raise ConfigError(f"epochs, batch_clips and max_rows must be >= 1, learning_rate > 0, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """What became of a fit; NaN where there was nothing to measure."""

    train_losses: tuple[float, ...]  # one per epoch
    val_losses: tuple[float, ...]
    kept_epoch: int  # whose weights are kept: the best on validation, the last where there is none
