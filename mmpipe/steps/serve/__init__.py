"""Join the server to the registry, to warm workers and to the store."""
