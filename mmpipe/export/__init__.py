"""Datasets for other tools, written from plain samples: WebDataset, Parquet, Lance, and a Hugging Face folder."""
