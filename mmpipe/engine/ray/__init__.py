"""The engine of a Ray cluster: the confined workers of one machine, inside Ray actors."""
