"""Turn the media of a clip into numbers: one small, stateless, deterministic class per extractor, no weights needed."""
