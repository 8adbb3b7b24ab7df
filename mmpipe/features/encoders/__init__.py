"""Encoders: extractors that run a network, and what they share: how a number is kept, what runs together, on what."""
