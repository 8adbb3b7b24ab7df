"""Make one modality out of another: pictures from a vector by an adversarial game, words from a vector by spelling."""
