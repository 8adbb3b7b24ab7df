"""What is due and why: the ledger, the choices of a person, the plan of a night or a backfill."""
