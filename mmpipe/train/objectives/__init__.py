"""What a training may minimise: pure functions of outputs and targets, one file per kind of target.

A config trains on classes only, by `mmpipe.train.losses`; the others are for code that brings its own loop.
"""
