"""Prefect flows: order, fan-out and parameters; the work is in `mmpipe`, reached through `tasks`."""
