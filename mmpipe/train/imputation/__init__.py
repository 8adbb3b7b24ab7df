"""Fit what stands in for a missing modality, and keep it only where it beats simpler guesses."""
