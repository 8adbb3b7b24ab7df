"""What a person sees of a run in Prefect's UI: bars that move, tables, links and pictures."""
