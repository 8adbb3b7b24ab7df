"""What the tests of other teams' data share: their helper modules, and those of the steps."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "steps")]
