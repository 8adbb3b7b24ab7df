"""Probe and decode media that nobody vouches for, inside supervised worker processes: bounded, typed in failure."""
