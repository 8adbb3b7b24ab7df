"""Measure trained models on predictions alone, and judge whether a fused one has earned its release.

Plain predictions come in, plain frozen numbers go out: this room knows neither the networks nor the store.
"""
