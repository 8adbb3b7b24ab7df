"""Find a model on this machine, say by digest which one it is, and load it; extractors and speech need the same."""
