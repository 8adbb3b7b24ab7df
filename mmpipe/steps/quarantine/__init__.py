"""What could not be used: why, how it is looked at again, and what a person may let in."""
