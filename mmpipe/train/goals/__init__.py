"""What training minimises for each goal: one file per goal, found by `registry.py`."""
