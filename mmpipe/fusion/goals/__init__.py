"""What a network says of a clip: one file per goal, found by `registry.py`."""
