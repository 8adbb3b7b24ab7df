"""Take in what is new in a corpus: find, probe, join, cut, measure, compare, commit the spine."""
