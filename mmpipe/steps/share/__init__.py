"""Let other teams read a store, and read theirs: exports, streams, external datasets."""
