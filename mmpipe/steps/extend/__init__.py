"""Bring something of one's own: the first files of a plug-in, and the goldens that hold extractors to their version."""
