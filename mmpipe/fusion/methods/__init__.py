"""The fusions that come with mmpipe: one file each, and the file's name is the fusion's name."""
