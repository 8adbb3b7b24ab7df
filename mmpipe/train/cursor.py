"""Where a run stands inside an epoch."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """What the steps of an unfinished epoch came to; step 0 is between two epochs."""

    step: int = 0  # steps done, skipped ones counted
    loss_sum: float = 0.0  # over clips
    norm_sum: float = 0.0  # over steps
    clips: int = 0
    good_steps: int = 0
    skipped_steps: int = 0
    skipped_clips: tuple[str, ...] = ()  # keys of some clips of the skipped steps

    def after(self, loss_sum: float, norm: float, clips: int) -> Cursor:
        """Return the cursor after a step that counts."""
        return replace(
            self,
            step=self.step + 1,
            loss_sum=self.loss_sum + loss_sum,
            norm_sum=self.norm_sum + norm,
            clips=self.clips + clips,
            good_steps=self.good_steps + 1,
        )

    def after_skipped(self, keys: list[str]) -> Cursor:
        """Return the cursor after a step whose gradient was not finite."""
        return replace(
            self,
            step=self.step + 1,
            skipped_steps=self.skipped_steps + 1,
            skipped_clips=(*self.skipped_clips, *keys),
        )
