"""A whole night or a backfill, without an orchestrator: the steps in their order."""
