"""Find the nearest vectors: all compared up to a bound, along a graph above it; and the index that keeps them."""
