"""From a labels table to what a network is to say, and from what it says to answers: one file per goal."""
