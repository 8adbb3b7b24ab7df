"""What stands in for a modality that a clip lacks: fitted before training, held still in it, saved with the network."""
