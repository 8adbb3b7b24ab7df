"""Turn the features of a clip into one embedding and class scores: preprocessing, encoders, and the fusions by name."""
