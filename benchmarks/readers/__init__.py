"""The contestants of `benchmarks/reader.py`, one a file, and what times and compares them."""
