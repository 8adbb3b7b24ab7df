"""Find what lies in a corpus: files, which of them belong together, their labels and dates. Opens no media."""
