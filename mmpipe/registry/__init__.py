"""Keep trained models as immutable versions, and say which of them is in use.

A folder per model: `versions/<n>-<digest8>/`, `aliases.json`, `events.jsonl`. No server and no database.
"""
