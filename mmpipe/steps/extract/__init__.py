"""Make features: shards on the engine, from the media of a clip to committed bytes."""
