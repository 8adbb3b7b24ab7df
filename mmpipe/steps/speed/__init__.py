"""How close a run came to what its machine can do."""
