"""The same job called by other engines."""
