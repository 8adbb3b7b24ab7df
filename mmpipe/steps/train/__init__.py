"""Train every contender of a model on a frozen snapshot, and search for better settings."""
