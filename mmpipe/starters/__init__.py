"""Write the first files of a package that brings an extractor, a fusion or a source."""
