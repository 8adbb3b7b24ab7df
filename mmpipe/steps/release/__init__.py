"""Judge what was trained, and publish what earned it."""
