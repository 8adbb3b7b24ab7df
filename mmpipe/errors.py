"""Errors, classed by what to do next.

MmpipeError
+-- ConfigError      fix the config or the environment      exit 3
+-- SampleError      drop the sample: a row of quarantine   (never reaches the user as an exit)
+-- ShardError       redo the shard                         exit 1
+-- StoreError       the store's bytes are not what they should be: `mmpipe verify`   exit 1
+-- GateRefused      the evaluation does not earn a release exit 4
+-- PartialError     too much was quarantined               exit 5
+-- TransientError   try again: somebody else won, or the machine was busy            exit 75
    +-- HeldError    wait first: somebody alive is at work on it                      exit 75
"""

from __future__ import annotations


class MmpipeError(Exception):
    """An error with a class that says what to do next; the text says what, where, why and the way out."""

    exit_code = 1


class ConfigError(MmpipeError):
    """The config or the environment must be fixed first."""

    exit_code = 3


class SampleError(MmpipeError):
    """One sample cannot be used: drop it and count the reason."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class ShardError(MmpipeError):
    """A shard's work failed as a whole and must be done again; `report` says what came of the shards beside it."""

    def __init__(self, text: str, report: object = None) -> None:
        super().__init__(text)
        self.report = report


class StoreError(MmpipeError):
    """Committed bytes are missing or changed."""


class GateRefused(MmpipeError):
    """A model did not earn its release."""

    exit_code = 4


class PartialError(MmpipeError):
    """The run finished, but more was quarantined than the config allows; `report` says what came of it all."""

    exit_code = 5

    def __init__(self, text: str, report: object = None) -> None:
        super().__init__(text)
        self.report = report


class TransientError(MmpipeError):
    """Nothing is wrong but the moment: try again."""

    exit_code = 75


class HeldError(TransientError):
    """Somebody alive is at work on it: wait for them, then try again; `report` says what was done beside it."""

    def __init__(self, text: str, report: object = None) -> None:
        super().__init__(text)
        self.report = report
