"""From the tokens of a clip to a text: vocabulary, decoder, search."""
