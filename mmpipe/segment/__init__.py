"""Cut assets into clips, and clips into splits and folds: pure functions of their arguments."""
