"""Search a corpus with a coordinated release: its views, the index of its clips, the query, and what was found."""
