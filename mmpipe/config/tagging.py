"""What can be chosen about a network that tags words."""

from __future__ import annotations

from pydantic import Field

from mmpipe.config.table import Flag, Table


class TagOptions(Table):
    """How the tags of a sentence are decided."""

    words: str = Field("", description="the input with a row per word; empty: the one sequence called text-...")
    crf: Flag = Field(False, description="decide the tags of a sentence together, by a linear-chain CRF")
    max_words: int = Field(0, ge=0, le=4096, description="of a sentence that is tagged; 0: the longest of the labels")
