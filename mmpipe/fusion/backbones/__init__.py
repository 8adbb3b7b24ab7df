"""Networks that learn from stored pictures and tokens themselves: they stand before an encoder, and train with it."""
