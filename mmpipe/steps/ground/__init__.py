"""Small steps that all others rest upon: how far it has come, what is committed, what must be kept."""
