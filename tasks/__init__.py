"""Prefect tasks: retries, names and artifacts around one library call each."""
