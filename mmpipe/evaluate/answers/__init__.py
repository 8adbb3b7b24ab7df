"""What models said about clips whose truth is known: one kind of answers per goal, measured by one number each."""
