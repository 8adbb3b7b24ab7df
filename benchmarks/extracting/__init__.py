"""What benchmarks/extract.py measures."""
