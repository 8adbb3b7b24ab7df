"""Datasets that another team publishes, read-only: Parquet, WebDataset tars and npy files, pinned by digest."""
