"""What the app's pages show, read from a store: nothing here writes to it."""
