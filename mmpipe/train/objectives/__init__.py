"""What a training may minimise: pure functions of outputs and targets, one file per kind of target."""
