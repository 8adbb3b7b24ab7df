"""What the tests of hostile input share: corpora made in code, and mutants."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / "steps"), str(TESTS / "media"), str(TESTS / "threats")]
