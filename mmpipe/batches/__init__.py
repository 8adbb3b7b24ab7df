"""Turn a snapshot of the store into aligned batches at memory speed."""
