"""What can be told of an asset from its samples alone: cuts, speech, loudness, picture and text quality, prints."""
