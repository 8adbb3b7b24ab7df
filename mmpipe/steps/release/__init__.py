"""Judge what was trained, publish what earned it, and answer with it."""
