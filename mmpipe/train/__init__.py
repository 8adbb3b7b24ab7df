"""Train a network on clips, keep it safely, run it: data, loop, checkpoints, weights, export."""
